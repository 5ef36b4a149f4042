"""What makes the tokens: a family. A member's `MEMBER(options)` makes an `Engine` (see `domain/ports/engine.py`) from its options.

`sim` simulates a GPU and generates; `openai` relays to a server that speaks OpenAI's API already.
"""

from penstock.compute.engines._options import BadOption
from penstock.compute.engines._probe import Probe, ProbeFailed, probe
from penstock.compute.engines._problems import EngineUnavailable

__all__ = ["BadOption", "EngineUnavailable", "Probe", "ProbeFailed", "probe"]
