"""The simulator's tokenizer and vocabulary.

The rule: a token is up to eight letters or digits (with `_`) together with one space before them, or a single space, or a single other
character. Joining the tokens of a text gives the text back, so counts are exact by construction. Token ids name words of the
vocabulary, round and round.
"""

import re
from collections.abc import Iterable

from penstock.domain.ports.engine import Conversation, GenerationRequest, Message, Prompt

_TOKEN = re.compile(r" ?\w{1,8}|\s|[^\w\s]")

MESSAGE_TOKENS = 4
"""What the chat template adds to each message: its role and its borders."""
REPLY_TOKENS = 3
"""What the template adds at the end, where the assistant begins."""

_WORDS = """
    water gate river stone light field north bridge signal paper winter garden engine silver window market harbor forest
    circle moment answer letter number music summer planet valley island copper mirror season corner bottle candle desert
    finger pepper ticket tunnel wagon anchor basket button canvas cotton dinner edge feather glass hammer iron jacket kettle
    ladder magnet needle ocean pencil quartz ribbon saddle thread umbrella velvet whistle yellow zebra amber breeze cloud
    drift ember flame grain hollow ink jewel knot leaf meadow nest orbit pulse quiet root shade tide under vapor wheat
    the a of and to in is that it for was on are with as they be at one have this from by some what we can out other were
    all there when up use your how said each she which do their time if will way about many then them write would like so
    these her long make thing see him two has look more day could go come did sound no most people my over know than call
    first who may down side been now find
"""
VOCABULARY: tuple[str, ...] = tuple(_WORDS.split())


def split(text: str) -> list[str]:
    """The tokens of a text; their concatenation is the text."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    return len(_TOKEN.findall(text))


def words(ids: Iterable[int]) -> list[str]:
    """What token ids say: a word each, a space before all but the first."""
    named = [VOCABULARY[one % len(VOCABULARY)] for one in ids]
    return named[:1] + [f" {word}" for word in named[1:]]


def count_prompts(request: GenerationRequest) -> list[int]:
    """Tokens of each prompt, with the tools that the request offers."""
    tools = sum(count(tool.name) + count(tool.description) + count(str(tool.parameters)) for tool in request.tools)
    return [count_prompt(one) + tools for one in request.prompts]


def count_prompt(prompt: Prompt) -> int:
    if isinstance(prompt, str):
        return count(prompt)
    if isinstance(prompt, Conversation):
        return REPLY_TOKENS + sum(MESSAGE_TOKENS + count(one.text) + _calls(one) for one in prompt.messages)
    return len(prompt)


def _calls(message: Message) -> int:
    return sum(count(call.name) + count(call.arguments) for call in message.tool_calls)


def text_of(prompt: Prompt) -> str:
    """The prompt as one text: what an echo repeats, and what the answer is drawn from."""
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, Conversation):
        return "\n".join(f"{one.role}: {one.text}{''.join(call.arguments for call in one.tool_calls)}" for one in prompt.messages)
    return "".join(words(prompt))
