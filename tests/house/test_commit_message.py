"""tools/commit_message.py: good messages pass, each rule refuses what it is for, a range is read from a real repository."""

import subprocess
from pathlib import Path

import pytest

from tools import commit_message

GOOD = "scheduling: refuse flex when no slot is idle\n\nFlex is cheap because it is the first to be shed.\n"


@pytest.mark.parametrize(
    "message",
    [
        GOOD,
        "docs: add a glossary",
        "serving/pipeline, edge: pass one value to observers\n\nWhy.",
        "Merge branch 'queue'",
        'Revert "docs: add a glossary"\n\nThis reverts commit 123.',
        "fixup! docs: add a glossary",
        "docs: cite a page\n\n" + "x" * 150,
    ],
)
def test_good_message_passes(message: str) -> None:
    assert commit_message.problems(message) == []


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("x", "area: what changes"),
        ("Docs: add a glossary", "area: what changes"),
        ("docs:add a glossary", "area: what changes"),
        ("docs: " + "long " * 20, "characters"),
        ("docs: adds a glossary", "'adds'"),
        ("docs: Fixed a link", "'Fixed'"),
        ("docs: add a glossary; fix a link", "two commits"),
        ("docs: add a glossary.", "full stop"),
        ("docs: add a glossary\nbecause words differ", "second line"),
        ("docs: add a glossary\n\n" + "many words " * 20, "line of the body"),
    ],
)
def test_bad_message_is_refused_with_its_reason(message: str, said: str) -> None:
    found = commit_message.problems(message)
    assert len(found) == 1
    assert said in found[0]


def test_comments_and_diff_of_the_hook_file_are_left_out() -> None:
    file = f"{GOOD}# Please enter the commit message\n{commit_message._SCISSORS}\ndiff --git a b\n{'+' * 200} x\n"
    assert commit_message.problems(commit_message.without_comments(file)) == []


def test_hook_reads_its_file_and_names_each_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "COMMIT_EDITMSG"
    file.write_text("wip\n")
    assert commit_message.main([str(file)]) == 1
    assert "'wip'" in capsys.readouterr().err
    file.write_text(GOOD)
    assert commit_message.main([str(file)]) == 0


def test_call_without_arguments_prints_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert commit_message.main([]) == 2
    assert "--since REVISION" in capsys.readouterr().err


def test_range_holds_the_commits_after_a_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "--quiet")
    for message in ("An old one; of another kind.", GOOD, "wip"):
        git("commit", "--quiet", "--allow-empty", "--no-verify", "-m", message)
    monkeypatch.chdir(tmp_path)
    assert commit_message.main(["--since", "HEAD~1"]) == 1
    assert "'wip'" in capsys.readouterr().err
    git("reset", "--quiet", "--hard", "HEAD~1")
    assert commit_message.main(["--since", "HEAD~1"]) == 0
    assert commit_message.main(["--since", "HEAD"]) == 0
