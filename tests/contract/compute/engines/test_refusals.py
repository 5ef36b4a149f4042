"""What an engine does not have is said with a 400 that names the field; it is never dropped without a word."""

from pathlib import Path
from typing import Any

import pytest

from tests.contract.compute.engines.subjects import REFUSED, subject


@pytest.mark.parametrize(("engine", "feature"), [(engine, feature) for engine, features in REFUSED.items() for feature in features])
async def test_parameter_that_an_engine_lacks_is_refused(engine: str, feature: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    fields: dict[str, Any] = REFUSED[engine][feature]
    async with subject(engine, tmp_path) as served:
        for stream in (False, True):
            hello = [{"role": "user", "content": "Hello"}]
            status, error = await served.error("/v1/chat/completions", messages=hello, stream=stream, **fields)
            assert (status, error["code"], error["param"]) == (400, "unsupported_parameter", list(fields)[-1])
    request.node.user_properties += [("feature", feature), ("engine", engine), ("refused", True)]
