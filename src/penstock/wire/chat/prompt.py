"""The text that a model will read, in the order in which its template lays it out."""

from penstock.wire.chat.bodies import AnyBody, ChatBody, CompletionBody, TensorsBody


def prompt_bytes(request: AnyBody) -> bytes:
    """Two prompts whose templated forms begin alike begin alike here: tools first, then role and content of each message, raw JSON."""
    if isinstance(request, ChatBody):
        parts = [bytes(tool) for tool in request.tools or ()]
        for message in request.messages:
            parts += (message.role.encode(), bytes(message.content))
        return b"\0".join(parts)
    if isinstance(request, TensorsBody):
        return b""  # nothing of them is remembered
    return bytes(request.prompt if isinstance(request, CompletionBody) else request.input)
