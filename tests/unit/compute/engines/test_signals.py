"""The table of metric names, and reading a load through it."""

from penstock.compute.engines import _signals
from penstock.domain.workers import WorkerLoad

VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a"} 3.0
vllm:num_requests_running{engine="1",model_name="a"} 2.0
vllm:num_requests_waiting{engine="0",model_name="a"} 7.0
vllm:kv_cache_usage_perc{engine="0",model_name="a"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="a"} 0.75
vllm:time_to_first_token_seconds_sum{engine="0"} 10.0
vllm:time_to_first_token_seconds_count{engine="0"} 20.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf"} 20.0
"""


def test_every_engine_of_the_table_has_its_signals() -> None:
    table = _signals.table()
    assert {"vllm", "sglang", "llamacpp", "ollama", "tgi", "penstock"} <= set(table)
    assert all(row.engine == name and isinstance(row.running, tuple) for name, row in table.items())
    assert "tool_choice" in _signals.unsupported("ollama")
    assert _signals.unsupported("vllm") == _signals.unsupported("never heard of") == frozenset()


def test_a_load_of_several_engines_on_one_page() -> None:
    reading = _signals.read(_signals.table()["vllm"], VLLM)
    assert reading.load == WorkerLoad(running=5, waiting=7, kv_usage=0.75, ttft_seconds=0.5)


def test_an_older_name_counts_where_the_newer_is_missing() -> None:
    page = VLLM.replace("kv_cache_usage_perc", "gpu_cache_usage_perc")
    assert _signals.read(_signals.table()["vllm"], page).load.kv_usage == 0.75


def test_time_to_first_token_is_the_mean_since_the_last_look() -> None:
    vllm = _signals.table()["vllm"]
    first = _signals.read(vllm, VLLM)
    page = VLLM.replace('_sum{engine="0"} 10.0', '_sum{engine="0"} 14.0').replace('_count{engine="0"} 20.0', '_count{engine="0"} 22.0')
    second = _signals.read(vllm, page, first)
    assert second.load.ttft_seconds == 2.0
    assert _signals.read(vllm, page, second).load.ttft_seconds == 2.0  # nothing new: still what it was
    assert _signals.read(vllm, VLLM, second).load.ttft_seconds == 0.5  # the server began again


def test_an_empty_or_odd_page_is_an_idle_engine() -> None:
    vllm = _signals.table()["vllm"]
    for page in ("", "vllm:num_requests_running many\n", "<html>"):
        assert _signals.read(vllm, page).load == WorkerLoad()


def test_engine_is_recognised_by_its_metrics_and_owner() -> None:
    assert _signals.engine_of_metrics(VLLM) == "vllm"
    assert _signals.engine_of_metrics("# nothing\n") == ""
    assert _signals.engine_of(["library"]) == "ollama"
    assert _signals.engine_of(["someone"]) == "openai"
