#!/usr/bin/env python3
"""Checks commit messages: `tools/commit_message.py FILE` as a git hook, `tools/commit_message.py --since REVISION` for a range.

The subject is `area: what changes`, imperative, one change, at most 72 characters; a blank line, then a body that says why. Needs only
Python's standard library, so that the hook works without the development environment:

    ln -s ../../tools/commit_message.py .git/hooks/commit-msg
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

MOST_SUBJECT = 72
MOST_BODY_LINE = 120
_SUBJECT = re.compile(r"^(?P<area>[a-z][a-z0-9_./-]*(?:, [a-z][a-z0-9_./-]*)*): (?P<change>\S.*)$")
_NOT_IMPERATIVE = re.compile(r"^(add|chang|fix|mov|remov|renam|updat|us|mak|writ|test|document|split|check)(ed|es|s|ing)$", re.IGNORECASE)
"""First words that tell of the past or the present: `adds`, `added`, `adding`."""
_MADE_BY_GIT = re.compile(r"^(Merge|Revert|fixup!|squash!|amend!) ?")
_SCISSORS = "# ------------------------ >8 ------------------------"


def problems(message: str) -> list[str]:
    """What is wrong with a message, a sentence each; empty: nothing."""
    subject, _, rest = message.strip("\n").partition("\n")
    if _MADE_BY_GIT.match(subject):
        return []
    return [*_subject_problems(subject), *_body_problems(rest)]


def _subject_problems(subject: str) -> Iterator[str]:
    if len(subject) > MOST_SUBJECT:
        yield f"The subject has {len(subject)} characters; at most {MOST_SUBJECT} are shown everywhere."
    parts = _SUBJECT.match(subject)
    if parts is None:
        yield "The subject must be `area: what changes`, for example `scheduling: refuse flex when no slot is idle`."
        return
    change = parts["change"]
    if _NOT_IMPERATIVE.match(change.split()[0]):
        yield f"Write the subject as an order: not {change.split()[0]!r}, but what the commit does to the code."
    if ";" in change:
        yield "A semicolon in the subject means two changes: make two commits."
    if change.endswith("."):
        yield "The subject ends without a full stop."


def _body_problems(rest: str) -> Iterator[str]:
    lines = rest.split("\n")
    if lines[0].strip():
        yield "Leave the second line empty; the body begins on the third."
    long = [line for line in lines if len(line) > MOST_BODY_LINE and " " in line.strip()]
    if long:
        yield f"A line of the body has {len(long[0])} characters; at most {MOST_BODY_LINE}."


def without_comments(text: str) -> str:
    """The message in the file that git gives to a hook: without its comments, and without the diff of `git commit -v`."""
    lines = text.partition(_SCISSORS)[0].split("\n")
    return "\n".join(line for line in lines if not line.startswith("#"))


def _messages_since(revision: str) -> Iterator[tuple[str, str]]:
    """Name and message of each commit that HEAD has and `revision` has not, without merges. Raises CalledProcessError."""
    command = ["git", "log", "--no-merges", "--format=%h%x00%B%x01", f"{revision}..HEAD"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - git, and the caller's revision
    for entry in listing.split("\x01"):
        name, found, message = entry.strip("\n").partition("\0")
        if found:
            yield name, message


def main(arguments: Sequence[str]) -> int:
    """0: all messages are good; 1: one is not; 2: called in another way."""
    match arguments:
        case ["--since", revision]:
            messages = list(_messages_since(revision))
        case [file]:
            messages = [("commit", without_comments(Path(file).read_text(encoding="utf-8")))]
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    found = [(name, message.partition("\n")[0], problem) for name, message in messages for problem in problems(message)]
    for name, subject, problem in found:
        print(f"{name} {subject!r}: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
