"""What makes the tokens: a family. A member's `MEMBER(options)` makes an `Engine` (see `domain/ports/engine.py`) from its options.

`sim` simulates a GPU and generates; `openai` relays to a server that speaks OpenAI's API already.
"""

from penstock.base.family import Family
from penstock.compute.engines._options import BadOption
from penstock.compute.engines._probe import Probe, ProbeFailed, probe, upstream_client
from penstock.compute.engines._problems import EngineUnavailable
from penstock.domain.ports.engine import EngineFactory

ENGINES: Family[EngineFactory] = Family(__name__)

__all__ = ["ENGINES", "BadOption", "EngineUnavailable", "Probe", "ProbeFailed", "probe", "upstream_client"]
