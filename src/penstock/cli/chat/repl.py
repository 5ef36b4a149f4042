"""The conversation at a terminal: prompts, answers, and the commands that begin with a slash."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from penstock.cli.chat.answer import ChatReply
from penstock.cli.chat.conversation import ChatHistory
from penstock.cli.chat.prompt import typed
from penstock.cli.client.ratelimit import LimitState
from penstock.cli.exits import ExitCode, Failed

HELP = """\
Enter sends; Esc-Enter or a trailing backslash begins a new line; \"\"\" encloses a block. Ctrl-C stops an answer, Ctrl-D leaves.
  /model [NAME]   show the models, or talk to another one
  /system [TEXT]  show, or set, the system prompt (`/system -` removes it)
  /usage          tokens so far, and what the limits leave
  /save FILE      write the conversation (.json, otherwise Markdown)
  /clear          forget the conversation, keep model and system prompt
  /exit           leave"""


@dataclass(frozen=True, slots=True)
class ReplCallbacks:
    """What the loop needs of the world."""

    read: Callable[[], str]
    """One entry. Raises EOFError (leave) and KeyboardInterrupt (throw the entry away)."""
    ask: Callable[[ChatHistory, str, Callable[[str], None]], ChatReply]
    models: Callable[[], list[str]]
    write: Callable[[str], None]
    """A piece of an answer."""
    say: Callable[[str], None]
    """Everything else."""


class Repl:
    def __init__(self, conversation: ChatHistory, world: ReplCallbacks) -> None:
        self._conversation = conversation
        self._world = world
        self._limits: tuple[LimitState, ...] = ()
        self._commands: dict[str, Callable[[str], None]] = {
            "/model": self._model,
            "/system": self._system,
            "/usage": self._usage,
            "/save": self._save,
            "/clear": self._clear,
            "/help": self._help,
        }

    def run(self) -> ExitCode:
        self._world.say(f"{self._conversation.model}; /help for help")
        while True:
            try:
                entry = typed(self._world.read())
            except KeyboardInterrupt:
                self._world.say("/exit or Ctrl-D leaves")
                continue
            except EOFError:
                return ExitCode.OK
            if entry in ("/exit", "/quit"):
                return ExitCode.OK
            if entry:
                self._enter(entry)

    def _enter(self, entry: str) -> None:
        try:
            if entry.startswith("/"):
                self._command(entry)
            else:
                self._ask(entry)
        except Failed as failed:
            self._world.say(f"{failed}\n  {failed.hint}" if failed.hint else str(failed))

    def _command(self, entry: str) -> None:
        name, _, rest = entry.partition(" ")
        run = self._commands.get(name)
        if run is None:
            self._world.say(f"there is no {name}; /help lists what there is")
        else:
            run(rest.strip())

    def _ask(self, prompt: str) -> None:
        pieces: list[str] = []

        def hear(text: str) -> None:
            pieces.append(text)
            self._world.write(text)

        try:
            answer = self._world.ask(self._conversation, prompt, hear)
        except (KeyboardInterrupt, Failed) as stopped:
            if pieces:
                self._conversation.add_turn(prompt, "".join(pieces))
                self._world.write("\n")
            if isinstance(stopped, Failed):
                raise
            self._world.say("stopped")
            return
        self._world.write("\n")
        self._conversation.answered(prompt, answer)
        self._limits = answer.limits
        self._world.say(status_line(answer))

    def _model(self, name: str) -> None:
        if not name:
            for model in self._world.models():
                self._world.say(f"{'*' if model == self._conversation.model else ' '} {model}")
            return
        self._conversation.model = name
        self._world.say(f"now talking to {name}")

    def _system(self, text: str) -> None:
        if not text:
            self._world.say(self._conversation.system or "no system prompt")
            return
        self._conversation.system = "" if text == "-" else text
        self._world.say("system prompt set" if self._conversation.system else "system prompt removed")

    def _usage(self, _rest: str) -> None:
        talk = self._conversation
        self._world.say(f"{talk.answers} answers: {talk.prompt_tokens:,} prompt + {talk.completion_tokens:,} completion tokens")
        for limit in self._limits:
            self._world.say(str(limit))

    def _save(self, name: str) -> None:
        if not name:
            self._world.say("/save wants a file name")
            return
        try:
            self._conversation.save(Path(name).expanduser())
        except OSError as error:
            raise Failed(f"cannot write {name}: {error.strerror or error}") from error
        self._world.say(f"saved {len(self._conversation.turns)} messages to {name}")

    def _clear(self, _rest: str) -> None:
        self._conversation.clear()
        self._world.say("cleared")

    def _help(self, _rest: str) -> None:
        self._world.say(HELP)


def status_line(answer: ChatReply) -> str:
    """One line under an answer: tokens, tier, time, limits."""
    usage = answer.usage or {}
    parts = [f"{usage.get('prompt_tokens', 0):,} + {usage.get('completion_tokens', 0):,} tokens"] if usage else []
    parts += [f"{answer.tier} tier"] if answer.tier else []
    parts += [f"{answer.total_ms / 1000:.1f} s"]
    parts += [str(limit) for limit in answer.limits]
    return " | ".join(parts)
