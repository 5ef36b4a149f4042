"""The line where people type: Enter sends, Esc-Enter or a trailing backslash begins a new line, triple quotes enclose many."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.input import Input
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.output import Output

FENCE = '"""'


def is_open(text: str) -> bool:
    """True when Enter should begin a new line: a trailing backslash, or a block that is not closed."""
    return text.endswith("\\") or text.count(FENCE) % 2 == 1


def typed(text: str) -> str:
    """What was meant: without the continuation backslashes and the fences of a block."""
    joined = text.replace("\\\n", "\n").strip()
    if len(joined) >= 2 * len(FENCE) and joined.startswith(FENCE) and joined.endswith(FENCE):
        return joined.removeprefix(FENCE).removesuffix(FENCE).strip("\n")
    return joined


def session(*, source: "Input | None" = None, screen: "Output | None" = None) -> "PromptSession[str]":
    """A prompt on the terminal, or on the given input and output."""
    from prompt_toolkit import PromptSession

    return PromptSession("> ", multiline=True, key_bindings=_keys(), prompt_continuation="  ", input=source, output=screen)


def _keys() -> "KeyBindings":
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def _enter(event: "KeyPressEvent") -> None:
        buffer = event.current_buffer
        if is_open(buffer.document.text_before_cursor):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _new_line(event: "KeyPressEvent") -> None:
        event.current_buffer.insert_text("\n")

    return keys
