"""Writes the compatibility matrix of docs/reference/engines.md from what the conformance suite found: `make matrix`.

PENSTOCK_FEATURE_MATRIX=found.json pytest tests/contract/compute/engines && python tools/engine_matrix.py found.json
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "engines.md"
BEGIN, END = "<!-- matrix: made by `make matrix` -->", "<!-- end of the matrix -->"
PASSED_ON = ("llamacpp", "openai", "sglang", "vllm")
"""Engines that hand on what another maker's server says. In the suite that server is another one: what it can is not theirs."""
WORDS = {"passed": "works", "refused": "refused", "skipped": "n/a"}
Found = Mapping[str, Mapping[str, str]]
"""engine -> feature -> passed, refused, skipped or failed."""


def table(found: Found) -> str:
    """Raises ValueError for a suite that failed."""
    features = sorted({feature for row in found.values() for feature in row})
    engines = sorted(found)
    lines = [f"| feature | {' | '.join(f'`{engine}`' for engine in engines)} |", "|---" * (len(engines) + 1) + "|"]
    for feature in features:
        cells = [_cell(engine, found[engine].get(feature, "skipped"), feature) for engine in engines]
        lines.append(f"| {feature} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(engine: str, outcome: str, feature: str) -> str:
    if outcome not in WORDS:
        raise ValueError(f"the suite {outcome} for {engine}: {feature}")
    return "passed on" if outcome == "passed" and engine in PASSED_ON else WORDS[outcome]


def cells(page: str) -> dict[str, dict[str, str]]:
    """engine -> feature -> word, as the page has them."""
    inside = page.partition(BEGIN)[2].partition(END)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in inside.strip().splitlines() if line.startswith("|")]
    engines = [cell.strip("`") for cell in rows[0][1:]]
    return {engine: {row[0]: row[at + 1] for row in rows[2:]} for at, engine in enumerate(engines)}


def write(found: Found) -> None:
    page = PAGE.read_text(encoding="utf-8")
    whole = f"{BEGIN}\n\n{table(found)}\n\n{END}"
    PAGE.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: whole, page, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    write(json.loads(Path(sys.argv[1]).read_bytes()))
