"""Every block of the user pages runs as it is printed, in the order of its page (tests/support/doc_runner.py says how)."""

import sys
from pathlib import Path

import pytest

from tests.support.doc_blocks import Block, blocks, user_pages
from tests.support.doc_runner import missing, session
from tests.support.postgres import absent
from tests.support.sources import ROOT, shown

_RUNNABLE = ("sh", "python", "javascript")


def _runs(block: Block) -> bool:
    return block.language in _RUNNABLE and not {"skip", "title"} & set(block.words)


PAGES = [page for page in user_pages() if any(map(_runs, blocks(page)))]


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    found = list(blocks(page))
    needed = ["bash", "curl", "jq", "openssl", "sqlite3", *(["node"] if any(block.language == "javascript" for block in found) else [])]
    if lacking := missing(needed):
        absent(f"not installed: {', '.join(lacking)}")
    if "node" in needed and not (ROOT / "web" / "node_modules" / "openai").exists():
        absent("web/node_modules is not installed (make test-web)")
    with session(tmp_path) as running:
        for block in found:
            running.run(block)


def test_blocks_that_do_not_run_are_printed_with_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    """tests/house/test_docs.py holds their number."""
    left_out = [block for page in user_pages() for block in blocks(page) if "skip" in block.words]
    with capsys.disabled():
        sys.stdout.write("".join(f"\nnot run: {block}: {block.words['skip']}" for block in left_out))
        sys.stdout.write(f"\n{len(left_out)} blocks of the user pages are not run\n")
    assert all(block.words["skip"] for block in left_out)
