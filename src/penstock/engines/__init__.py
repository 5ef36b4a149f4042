"""What makes the tokens: a family. A member's `MEMBER(options)` makes an `Engine` (see `wire/generation.py`) from its options.

`sim` simulates a GPU and generates; `openai` relays to a server that speaks OpenAI's API already.
"""

from penstock.engines._options import BadOption
from penstock.engines._probe import Probe, ProbeFailed, probe

__all__ = ["BadOption", "Probe", "ProbeFailed", "probe"]
