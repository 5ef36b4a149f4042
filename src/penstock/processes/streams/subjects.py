"""Whether two topics can have a message in common. On NATS `*` stands for one piece of a subject and `>` for all that follow."""


def overlap(one: str, other: str) -> bool:
    return _overlap(one.split("."), other.split("."))


def _overlap(one: list[str], other: list[str]) -> bool:
    for left, right in zip(one, other, strict=False):
        if ">" in (left, right):
            return True
        if left != right and "*" not in (left, right):
            return False
    return len(one) == len(other)
