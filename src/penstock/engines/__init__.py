"""What makes the tokens: a family. A member's `MEMBER(options)` makes an `Engine` (see `wire/generation.py`) from its options.

`sim` simulates a GPU and generates; `openai` relays to a server that speaks OpenAI's API already.
"""

from penstock.engines._options import BadOption
from penstock.engines._probe import Probe, ProbeFailed, probe
from penstock.engines._problems import EngineUnavailable

__all__ = ["BadOption", "EngineUnavailable", "Probe", "ProbeFailed", "probe"]
