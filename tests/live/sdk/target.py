"""What the cases talk to. This package is also run by an environment that has an SDK and pytest, and no Penstock."""

import json
import os
from dataclasses import asdict, dataclass

from tests.live.platform import Control

ENGINES = ("sim", "upstream", "relay")
"""sim: workers of `penstock up`. upstream: a server that the gateway calls directly. relay: `penstock worker --engine openai`."""
_VARIABLE = "CONFORMANCE_TARGETS"


@dataclass(frozen=True)
class Target:
    """A gateway and a model of it."""

    engine: str
    base_url: str
    api_key: str
    """Of an administrator."""
    model: str
    origin: str
    """The gateway whose workers make the tokens, without `/v1`: this one, or the one behind it."""
    origin_key: str

    @property
    def control(self) -> Control:
        return Control(self.base_url.removesuffix("/v1"), self.api_key)

    @property
    def busy_workers(self) -> list[str]:
        """Where the tokens are made: workers that have a request."""
        workers = Control(self.origin, self.origin_key).get("/api/workers")["data"]
        return [each["name"] for each in workers if each["in_flight"] or each["load"]["running"]]


Targets = dict[str, Target]


def to_environment(targets: Targets) -> dict[str, str]:
    return {_VARIABLE: json.dumps([asdict(target) for target in targets.values()])}


def from_environment() -> Targets | None:
    """The targets that the caller has started; None: there is no such caller."""
    text = os.environ.get(_VARIABLE)
    return None if text is None else {each["engine"]: Target(**each) for each in json.loads(text)}
