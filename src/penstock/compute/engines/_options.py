"""Engine options as they come from a command line: names and texts, checked here so that a wrong one is explained."""

from collections.abc import Mapping

Options = Mapping[str, str]


class BadOption(ValueError):
    """An engine option that does not exist or cannot be read; the message says which and what would be right."""


def check_names(engine: str, options: Options, known: frozenset[str]) -> None:
    """Raises BadOption for a name that is not in `known`."""
    unknown = sorted(set(options) - known)
    if unknown:
        raise BadOption(f"the engine {engine!r} has no option {unknown[0]!r}; it has: {', '.join(sorted(known))}")


def choice(options: Options, name: str, allowed: tuple[str, ...]) -> str:
    """One of some words; the first is the default. Raises BadOption."""
    value = options.get(name, allowed[0])
    if value not in allowed:
        raise BadOption(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def number(options: Options, name: str, default: float) -> float:
    """A positive number, `inf` included. Raises BadOption."""
    text = options.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise BadOption(f"{name} must be a positive number, not {text!r}")
    return value


def whole(options: Options, name: str, default: int) -> int:
    """A positive whole number. Raises BadOption."""
    value = float(number(options, name, default))
    if not value.is_integer():
        raise BadOption(f"{name} must be a whole number, not {options[name]!r}")
    return int(value)


def needed(engine: str, options: Options, name: str) -> None:
    """Raises BadOption when the option is missing or empty."""
    if not options.get(name):
        raise BadOption(f"the engine {engine!r} needs the option {name!r}")


def yes(options: Options, name: str) -> bool:
    """Whether an option of `yes` and `no` is `yes`; the default is no. Raises BadOption."""
    return choice(options, name, ("no", "yes")) == "yes"


def pairs(options: Options, name: str) -> dict[str, str]:
    """NAME=VALUE,NAME=VALUE. Raises BadOption."""
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in options.get(name, "").split(","))):
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise BadOption(f"{name} must be written NAME=VALUE,NAME=VALUE; {part!r} is not")
        found[key] = value
    return found
