"""A conversation: what was said, with which model, and what it used."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.cli.chat.answer import ChatReply


@dataclass
class ChatHistory:
    model: str
    system: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of each request, such as `max_tokens`."""
    turns: list[dict[str, str]] = field(default_factory=list)
    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def request(self, prompt: str) -> dict[str, Any]:
        """The body that asks `prompt` as the next turn."""
        return {"model": self.model, "messages": [*self._opening(), *self.turns, _turn("user", prompt)], **self.options}

    def answered(self, prompt: str, answer: ChatReply) -> None:
        self.add_turn(prompt, answer.text)
        usage = answer.usage or {}
        self.answers += 1
        self.prompt_tokens += usage.get("prompt_tokens", 0)
        self.completion_tokens += usage.get("completion_tokens", 0)

    def add_turn(self, prompt: str, text: str) -> None:
        """A turn and its answer, also a stopped one: the conversation goes on from what was read."""
        self.turns += [_turn("user", prompt), _turn("assistant", text)]

    def clear(self) -> None:
        self.turns.clear()

    def save(self, path: Path) -> None:
        """JSON when the name ends in .json, else Markdown. Raises OSError."""
        messages = [*self._opening(), *self.turns]
        if path.suffix == ".json":
            text = json.dumps({"model": self.model, "messages": messages}, indent=2, ensure_ascii=False)
        else:
            text = "\n\n".join(f"## {message['role']}\n\n{message['content']}" for message in messages)
        path.write_text(text + "\n", encoding="utf-8")

    def _opening(self) -> list[dict[str, str]]:
        return [_turn("system", self.system)] if self.system else []


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
