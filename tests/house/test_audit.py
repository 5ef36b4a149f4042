"""The dependency audit: a vulnerability fails, silence of the service is said and does not."""

from pathlib import Path

import pytest

from tools import audit

REPORT = {
    "dependencies": [
        {"name": "good", "version": "1.0", "vulns": []},
        {"name": "bad", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1", "3.0"], "aliases": [], "description": ""}]},
        {"name": "private", "skip_reason": "Dependency not found and could not be audited"},
    ],
    "fixes": [],
}


def test_a_report_is_read() -> None:
    assert audit.read(REPORT) == audit.Audit(2, ("private",), ("bad 2.0: PYSEC-1, mended in 2.1, 3.0",))


@pytest.mark.parametrize(
    ("result", "status", "said"),
    [
        (None, 0, "nothing was checked"),
        (audit.Audit(0, ("all",), ()), 0, "nothing was checked"),
        (audit.Audit(2, (), ()), 0, "0 findings"),
        (audit.read(REPORT), 1, "bad 2.0: PYSEC-1"),
    ],
)
def test_only_a_vulnerability_fails(result: audit.Audit | None, status: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(Path("any.lock"), lambda lock: result) == status
    assert said in capsys.readouterr().out


def test_an_unreadable_lock_is_said_and_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(tmp_path / "absent.lock") == 0
    assert "nothing was checked" in capsys.readouterr().out
