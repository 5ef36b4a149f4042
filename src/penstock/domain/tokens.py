"""How many tokens a request used. A plain class: compiled rooms read its fields like C structs."""


class TokenCount:
    """Tokens of one request. It is not changed. `estimated` says that we counted, because the engine did not tell."""

    __slots__ = ("cached", "completion", "estimated", "prompt", "reasoning")

    def __init__(self, prompt: int, completion: int, cached: int = 0, reasoning: int = 0, estimated: bool = False) -> None:
        self.prompt = prompt
        self.completion = completion
        self.cached = cached
        """Of `prompt`."""
        self.reasoning = reasoning
        """Of `completion`."""
        self.estimated = estimated

    def _fields(self) -> tuple[int, int, int, int, bool]:
        return self.prompt, self.completion, self.cached, self.reasoning, self.estimated

    def __eq__(self, other: object) -> bool:
        return self._fields() == other._fields() if isinstance(other, TokenCount) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return "TokenCount(prompt={}, completion={}, cached={}, reasoning={}, estimated={})".format(*self._fields())


NO_TOKENS = TokenCount(0, 0)
