"""Tables as CSV, and on a terminal that is too narrow."""

import io
import sys

import pytest

from penstock.cli.output.tables import Output


def test_csv_has_plain_numbers_and_no_formula(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("=cmd()", 1234567, "1,234.50", None, True), ('a "b", c', -3, "-5.25", "x", False)]
    Output(csv=True).table({}, ("name", "requests#", "cost#", "first token#", "ok"), rows, total=("total", 1, "2"))
    assert capsys.readouterr().out.splitlines() == [
        "name,requests,cost,first_token,ok",
        "'=cmd(),1234567,1234.50,,yes",
        '"a ""b"", c",-3,-5.25,x,no',
    ]


def test_csv_of_nothing_is_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    Output(csv=True).table({}, ("id", "name"), [])
    assert capsys.readouterr().out == "id,name\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", ["40", "60", "80"])
def test_ids_and_ages_are_in_one_piece_on_any_terminal(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    screen = Terminal()
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stdout", screen)
    worker = "wrk_01m8n3fq1cskmfnhnqagt1za0k"
    Output().table({}, ("id", "name", "since", "last error"), [(worker, "gpu-box-1", "12 m 5 s", "the worker did not answer " * 5)])
    lines = screen.getvalue().splitlines()
    assert [line for line in lines if worker in line and "gpu-box-1" in line and "12 m 5 s" in line]
    assert len(lines) > 2  # the sentence is wrapped
