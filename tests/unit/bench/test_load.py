import json

import pytest

from bench.load import Load, LoadFailed, Target, body, lua, parse_wrk

OUTPUT = """\
Running 2s test @ http://127.0.0.1:39101/v1/chat/completions
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.01ms  498.00us   7.02ms   85.16%
    Req/Sec    28.91k     1.98k   31.40k    70.00%
  57546 requests in 2.00s, 41.30MB read
Requests/sec:  28771.55
RESULT 57546 2000102 1013 3131 0 0
"""


def test_the_report_of_wrk_is_read() -> None:
    assert parse_wrk(OUTPUT, cpu_seconds=0.5) == Load(57546, 2.000102, p50_ms=1.013, p99_ms=3.131, bad=0, cpu_seconds=0.5)


def test_answers_other_than_200_and_broken_connections_are_bad() -> None:
    found = parse_wrk("RESULT 100 1000000 10 20 30 4\n", cpu_seconds=0)
    assert (found.requests, found.bad) == (70, 34)


def test_without_a_report_wrk_has_failed() -> None:
    with pytest.raises(LoadFailed, match="unable to connect"):
        parse_wrk("unable to connect to 127.0.0.1:1 Connection refused\n", cpu_seconds=0)
    with pytest.raises(LoadFailed, match="no output"):
        parse_wrk("", cpu_seconds=0)


def test_bodies_differ_in_the_stream_alone() -> None:
    assert json.loads(body(stream=True)) == json.loads(body(stream=False)) | {"stream": True}


def test_script_quotes_the_body_that_wrk_sends() -> None:
    script = lua(Target(1, {"x-odd": 'a"b\\c'}), stream=False).splitlines()
    assert script[0] == "wrk.method = 'POST'"
    assert script[1].startswith('wrk.body = "{\\"model\\":\\"m\\",')
    assert 'wrk.headers["x-odd"] = "a\\"b\\\\c"' in script


def test_a_contenders_own_headers_win() -> None:
    target = Target(8080, {"Authorization": "Bearer mine"})
    assert target.url == "http://127.0.0.1:8080/v1/chat/completions"
    assert target.all_headers == {"Content-Type": "application/json", "Authorization": "Bearer mine"}
