"""Half-written files of coverage are taken away before they are added up, and whole ones stay."""

from pathlib import Path

from coverage import CoverageData

from tests.support.coverage_files import sweep


def measured(path: Path) -> bytes:
    data = CoverageData(str(path))
    data.add_lines({f"/file-{number}.py": range(1, 3000, 2) for number in range(200)})
    data.close()
    return path.read_bytes()


def test_torn_files_go_and_whole_ones_stay(tmp_path: Path) -> None:
    whole = measured(tmp_path / ".coverage.host.pid1.XAB")
    cut, torn, empty = (tmp_path / f".coverage.host.pid{number}.XAB" for number in (2, 3, 4))
    cut.write_bytes(whole[: len(whole) // 2])
    torn.write_bytes(whole[: len(whole) // 2] + b"\xff" * (len(whole) - len(whole) // 2))
    empty.touch()
    assert set(sweep(tmp_path)) == {cut, torn, empty}
    assert [path.name for path in tmp_path.iterdir()] == [".coverage.host.pid1.XAB"]
