"""How many tokens a request used. Plain classes: compiled rooms read their fields like C structs."""


class UsageReport:
    """What an engine said of its tokens, as far as it can be read. None: it did not say."""

    __slots__ = ("cached", "completion", "prompt", "reasoning", "unreadable")

    def __init__(self, prompt: int | None, completion: int | None, cached: int = 0, reasoning: int = 0, unreadable: str = "") -> None:
        self.prompt = prompt
        self.completion = completion
        self.cached = cached
        """Of `prompt`."""
        self.reasoning = reasoning
        """Of `completion`."""
        self.unreadable = unreadable
        """The names of the fields that hold no count of tokens."""

    def _fields(self) -> tuple[int | None, int | None, int, int, str]:
        return self.prompt, self.completion, self.cached, self.reasoning, self.unreadable

    def __eq__(self, other: object) -> bool:
        return self._fields() == other._fields() if isinstance(other, UsageReport) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return "UsageReport(prompt={}, completion={}, cached={}, reasoning={}, unreadable={!r})".format(*self._fields())


class Doubt:
    """Why a count is not what the engine reported."""

    __slots__ = ("completion", "disputed", "prompt", "unreadable")

    def __init__(self, prompt: int, completion: int, *, disputed: bool, unreadable: str = "") -> None:
        self.prompt = prompt
        """As the engine reported it; 0 when it did not."""
        self.completion = completion
        self.disputed = disputed
        """What it reported cannot be; False: it cannot be read."""
        self.unreadable = unreadable

    def _fields(self) -> tuple[int, int, bool, str]:
        return self.prompt, self.completion, self.disputed, self.unreadable

    def __eq__(self, other: object) -> bool:
        return self._fields() == other._fields() if isinstance(other, Doubt) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return "Doubt(prompt={}, completion={}, disputed={}, unreadable={!r})".format(*self._fields())


class TokenCount:
    """Tokens of one request. It is not changed. `estimated` says that we counted, because the engine did not tell."""

    __slots__ = ("cached", "completion", "doubt", "estimated", "prompt", "reasoning")

    def __init__(
        self, prompt: int, completion: int, cached: int = 0, reasoning: int = 0, estimated: bool = False, doubt: Doubt | None = None
    ) -> None:
        self.prompt = prompt
        self.completion = completion
        self.cached = cached
        """Of `prompt`."""
        self.reasoning = reasoning
        """Of `completion`."""
        self.estimated = estimated
        self.doubt = doubt
        """None, as a rule: the engine's report was taken, or there was none."""

    def _fields(self) -> tuple[int, int, int, int, bool, Doubt | None]:
        return self.prompt, self.completion, self.cached, self.reasoning, self.estimated, self.doubt

    def __eq__(self, other: object) -> bool:
        return self._fields() == other._fields() if isinstance(other, TokenCount) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return "TokenCount(prompt={}, completion={}, cached={}, reasoning={}, estimated={}, doubt={})".format(*self._fields())


NO_TOKENS = TokenCount(0, 0)
