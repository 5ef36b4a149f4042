"""The words of tasks, and what people ask for, in the one form that both databases get.

Each database has ideas of its own about what a word is. So a text comes to them as words already, lower case, without accents, between
spaces; and a question as the same words, none of which can be mistaken for an operator.

Chinese, Japanese, Korean, Thai and their neighbours write without spaces, or join endings to words. A run of such letters becomes its
pairs of letters and its last letter: a search for any part of it is then a phrase of pairs.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from operator import add

import msgspec

MOST_CHARACTERS = 32_768
"""Of each text of a task; what comes later is not found by its words."""
_BETWEEN = re.compile(r"[\W_]+")
_ASKED = re.compile(r'(-?)(?:"([^"]*)"|(\S+))')
_ASCII = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
"""The same as the other way, for the letters that most texts are made of: a quarter of the time."""
_LONGEST = 256
_RUN = re.compile(
    "["
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3041-\u30ff\u3100-\u312f\u31f0-\u31ff"  # Japanese syllables, Bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # Chinese characters
    "\uac00-\ud7a3"  # Korean syllables
    "]+"
)


def normalised(*texts: str) -> str:
    return " ".join(filter(None, (_plain(text) for text in texts)))


@lru_cache(1024)
def called(name: str, tags: tuple[str, ...]) -> str:
    """The words of what a task is called: thousands are called the same."""
    return normalised(name, *tags)


def of_json(text: str | None) -> str:
    """The words of a JSON text, names of fields included; what is escaped in it is read."""
    if not text or text == "null":
        return ""
    if "\\" in text and len(text) <= 4 * MOST_CHARACTERS:
        try:
            text = " ".join(_leaves(msgspec.json.decode(text)))
        except (msgspec.DecodeError, RecursionError):
            pass  # not JSON after all: its characters are words, too
    return _plain(text)


@lru_cache(1024)
def org_word(org_id: str) -> str:
    """A word for an organisation that no text can hold, so that a search does not walk through the words of other organisations."""
    return "0org" + org_id.encode().hex()


@dataclass(frozen=True, slots=True)
class Term:
    words: tuple[str, ...]
    """More than one: a phrase."""
    excluded: bool = False
    beginning: bool = False
    """The last word may go on."""


def asked(text: str) -> list[Term]:
    """What `TaskFilter.text` asks for; empty when there is no word in it."""
    terms = []
    for minus, phrase, word in _ASKED.findall(text):
        words = tuple(_plain(phrase or word).split())
        if words:
            terms.append(_term(words, bool(minus), not phrase and word.endswith("*")))
    return terms


def _term(words: tuple[str, ...], excluded: bool, beginning: bool) -> Term:
    """Where a run of letters without spaces comes last, more of them may follow: its own last letter says nothing, or begins a pair."""
    if _RUN.fullmatch(words[-1]):
        if len(words) > 1 and len(words[-1]) == 1 and len(words[-2]) == 2 and words[-2].endswith(words[-1]) and _RUN.fullmatch(words[-2]):
            return Term(words[:-1], excluded)
        return Term(words, excluded, beginning=True)
    return Term(words, excluded, beginning)


def for_sqlite(terms: list[Term], org_id: str | None) -> str:
    """As an FTS5 expression; without an organisation, of all tasks: empty when nothing but words to leave out is asked."""
    wanted = [] if org_id is None else [f'org : "{org_word(org_id)}"']
    wanted += [f"document : {_fts5(term)}" for term in terms if not term.excluded]
    excluded = "".join(f" NOT (document : {_fts5(term)})" for term in terms if term.excluded)
    return f"({' AND '.join(wanted)}){excluded}" if wanted else ""


def for_postgres(terms: list[Term], org_id: str) -> str:
    """As a tsquery; to be cast, not parsed."""
    return " & ".join([f"'{org_word(org_id)}'", *(_tsquery(term) for term in terms)])


def _fts5(term: Term) -> str:
    return '"' + " ".join(term.words) + '"' + (" *" if term.beginning else "")


def _tsquery(term: Term) -> str:
    words = [f"'{word}'" for word in term.words]
    if term.beginning:
        words[-1] += ":*"
    phrase = f"({' <-> '.join(words)})"
    return f"!{phrase}" if term.excluded else phrase


def _plain(text: str) -> str:
    text = text[:MOST_CHARACTERS]
    if text.isascii():
        words = " ".join(text.translate(_ASCII).split())
    else:
        text = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
        text = _RUN.sub(_pairs, unicodedata.normalize("NFC", text.lower()))
        words = " ".join(_BETWEEN.sub(" ", text).split())
    return words if len(words) <= _LONGEST else " ".join(word[:_LONGEST] for word in words.split())


def _pairs(run: re.Match[str]) -> str:
    letters = run.group()
    return f" {' '.join(map(add, letters, letters[1:]))} {letters[-1]} "


def _leaves(value: object) -> list[str]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in (str(key), *_leaves(inner))]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [] if value is None else [str(value)]
