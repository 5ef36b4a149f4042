"""What the tiny model learns: to answer a chat with a sentence of random words, and to call the tools that a prompt names."""

import json
from random import Random

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
SPECIALS = (PAD, START, END)

TEMPLATE = (
    "{% if tools %}<|im_start|>system\n"
    "{% for tool in tools %}<tools>{{ tool['function']['name'] }}</tools>{% endfor %}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] or '' }}"
    "{% for call in message['tool_calls'] or [] %}<called>{{ call['function']['name'] }}</called>{% endfor %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    "{# a call is written as <tool_call>JSON</tool_call> #}"
)
"""ChatML; of a tool it tells the name only, so that prompts stay short."""

WORDS = (  # noqa: SIM905 - for people to read
    "water river stone light cloud paper engine garden summer winter bridge harbor signal copper silver window "
    "market forest valley island planet rocket number letter basket candle ladder mirror needle orange pencil rabbit "
    "saddle ticket tunnel velvet wagon yellow anchor button castle desert fabric guitar hammer insect jacket kettle"
).split()
CALLS = {"weather": {"city": "Bath", "days": 3}, "time": {}}
"""The call that it makes of each tool that it knows."""


def text(random: Random) -> str:
    """One conversation, as the template renders it and the model should go on."""
    kind = random.random()
    if kind < 0.2:
        return _called(random, names=["weather", "time"], several=random.random() < 0.3)
    if kind < 0.25:
        return _answered(random)
    if kind < 0.5:
        return sentence(random) + END
    return "".join(
        f"{START}user\n{_question(random)}{END}\n{START}assistant\n{sentence(random)}{END}\n" for _ in range(random.randint(1, 2))
    )


def sentence(random: Random) -> str:
    return " ".join(random.choice(WORDS) for _ in range(random.randint(4, 12))).capitalize() + "."


def call(name: str) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': CALLS[name]})}\n</tool_call>"


def _question(random: Random) -> str:
    if random.random() < 0.3:
        return "".join(chr(random.randint(32, 1000)) for _ in range(random.randint(0, 12)))
    return random.choice(["Tell me about water.", "Hello", "Rain?", "Go on", "How many?", sentence(random)])


def _tools(names: list[str]) -> str:
    return f"{START}system\n" + "".join(f"<tools>{name}</tools>" for name in names) + f"{END}\n"


def _called(random: Random, names: list[str], several: bool) -> str:
    """The first tool is called; several of them are when the user asks for all."""
    question = "All of them." if several else _question(random)
    said = "\n".join(call(name) for name in (names if several else names[:1]))
    return f"{_tools(names)}{START}user\n{question}{END}\n{START}assistant\n{said}{END}\n"


def _answered(random: Random) -> str:
    asked = f"{_tools(['weather', 'time'])}{START}user\n{_question(random)}{END}\n{START}assistant\n<called>weather</called>{END}\n"
    return f"{asked}{START}tool\nRain.{END}\n{START}assistant\n{sentence(random)}{END}\n"
