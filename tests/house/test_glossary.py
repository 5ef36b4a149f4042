"""docs/glossary.md defines each term once, and has every term that ARCHITECTURE.md defines."""

import re

from tests.support.sources import PACKAGE, ROOT, text

GLOSSARY = text(ROOT / "docs" / "glossary.md")


def _rows() -> list[tuple[str, str, str]]:
    return [row for row in re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", GLOSSARY, re.MULTILINE) if row[0] not in {"term", "---"}]


def _terms() -> list[str]:
    return [term for term, _, _ in _rows()]


def _without_qualifier(term: str) -> str:
    """`queue (of a model)` is found under `queue`."""
    return term.partition(" (")[0].lower()


def test_every_row_has_a_term_a_meaning_and_other_words() -> None:
    lines = [line for line in GLOSSARY.splitlines() if line.startswith("| ") and not line.startswith("| term ")]
    assert len(_rows()) == len(lines) > 50
    assert [term for term, meaning, _ in _rows() if not meaning.endswith(".")] == []


def test_each_term_is_defined_once() -> None:
    terms = _terms()
    assert sorted({term for term in terms if terms.count(term) > 1}) == []


def test_terms_of_a_section_are_in_alphabetical_order() -> None:
    for section in GLOSSARY.split("\n## ")[1:]:
        terms = re.findall(r"^\| (?!term |---)(.+?) \|", section, re.MULTILINE)
        assert terms == sorted(terms), section.splitlines()[0]


def test_terms_in_bold_in_the_architecture_are_in_the_glossary() -> None:
    words = text(ROOT / "ARCHITECTURE.md").partition("\n## Words\n")[2].partition("\n## ")[0]
    bold = {term.lower() for term in re.findall(r"\*\*(.+?)\*\*", words)}
    assert len(bold) > 10
    known = {_without_qualifier(term) for term in _terms()}
    assert {term for term in bold if term not in known and term.removesuffix("s") not in known} == set()


def test_names_in_code_format_occur_in_the_source_or_are_paths() -> None:
    named = {name for _, meaning, _ in _rows() for name in re.findall(r"`([^`]+)`", meaning)}
    source = "\n".join(text(path) for path in PACKAGE.rglob("*.py"))
    assert len(named) > 20
    assert sorted(name for name in named if not _known(name, source)) == []


def _known(name: str, source: str) -> bool:
    """A path, or words that all occur in the source (`penstock simulate`, `retry_budget.amplification <= 1.2`)."""
    if "/" in name:
        return (ROOT / name).exists() or (PACKAGE / name).exists()
    return all(re.search(rf"\b{word}\b", source) for word in re.findall(r"[A-Za-z_]+", name))
