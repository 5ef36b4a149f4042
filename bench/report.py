"""Sections for the terminal, for a program, and for a document."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.goals import Check
from bench.machine import Provenance
from bench.section import Section


class NoPlace(Exception):
    """The document has no marks for what was measured."""


def text(section: Section) -> str:
    """Columns under each other; the first to the left, the others to the right."""
    lines = [section.columns, *section.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(section.columns))]
    table = [
        "  ".join(_aligned(cell, width, first=at == 0) for at, (cell, width) in enumerate(zip(line, widths, strict=True))) for line in lines
    ]
    return "\n".join([section.title, *(line.rstrip() for line in table), *(f"  {note}" for note in section.notes), ""])


def _aligned(cell: str, width: int, *, first: bool) -> str:
    return cell.ljust(width) if first else cell.rjust(width)


def markdown(section: Section) -> str:
    lines = [section.columns, ("---", *("---:" for _ in section.columns[1:])), *section.rows]
    notes = "".join(f"\n- {note}" for note in section.notes)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + (f"\n{notes}" if notes else "")


def json_line(sections: Sequence[Section], checks: Sequence[Check], provenance: Provenance) -> str:
    measured = {section.name: {"figures": dict(section.figures), "notes": section.notes, **section.data} for section in sections}
    judged = [{"goal": c.goal.name, "measured": c.measured, "required": c.required, "verdict": c.verdict} for c in checks]
    return json.dumps({"provenance": asdict(provenance), **measured, "checks": judged})


def write(path: Path, sections: Sequence[Section], provenance: Provenance) -> None:
    """Fill the marked places of a document, or make a new one. Raises NoPlace when it has none of the marks."""
    blocks = {section.name: f"{markdown(section)}\n\n{provenance.line}" for section in sections}
    document = path.read_text() if path.exists() else "# Measured\n" + "".join(f"\n{_begin(name)}\n{_end(name)}\n" for name in blocks)
    if not any(_begin(name) in document for name in blocks):
        raise NoPlace(f"{path.name} has none of the marks {', '.join(_begin(name) for name in blocks)}")
    for name, block in blocks.items():
        document = fill(document, name, block)
    path.write_text(document)


def fill(document: str, name: str, block: str) -> str:
    """The document with the block between its marks; as it was when it has none."""
    between = re.compile(rf"({re.escape(_begin(name))}\n).*?({re.escape(_end(name))})", re.DOTALL)
    return between.sub(lambda found: f"{found[1]}{block}\n{found[2]}", document)


def _begin(name: str) -> str:
    return f"<!-- bench {name}: begin -->"


def _end(name: str) -> str:
    return f"<!-- bench {name}: end -->"
