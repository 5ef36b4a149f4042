"""`penstock chat`: talk to a model, or put a prompt through a pipe."""

import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from penstock.cli.chat.answer import ChatReply, RateLimitPatience, ask, ask_patiently
from penstock.cli.chat.conversation import ChatHistory
from penstock.cli.chat.repl import Repl, ReplCallbacks
from penstock.cli.client.served_models import first_model, model_ids
from penstock.cli.command import Session, gateway_command, single
from penstock.cli.exits import ExitCode, Failed
from penstock.cli.output.tables import console, safe
from penstock.domain.clock import SystemClock

_Asker = Callable[[ChatHistory, str, Callable[[str], None]], ChatReply]


app = single()


@app.command(epilog='Example: git diff | penstock chat --system "Write a commit message for this change."')
@gateway_command
def chat(
    session: Session,
    prompt: Annotated[str | None, typer.Argument(metavar="[PROMPT]", help="One question. [standard input, or a conversation]")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="MODEL", help="Model. [the first that the gateway lists]")] = None,
    system: Annotated[str, typer.Option(metavar="TEXT", help="System prompt.")] = "",
    max_tokens: Annotated[int | None, typer.Option(min=1, metavar="N", help="Length limit of an answer, in tokens.")] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0.0, max=2.0, metavar="T", help="Randomness; 0 gives the same answer each time.")
    ] = None,
    tier: Annotated[str | None, typer.Option(metavar="TIER", help="Service tier: auto, default, priority or flex.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="At a rate limit, wait as long as the gateway asks.")] = True,
    max_wait: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Wait at most this long for one answer.")] = 300.0,
) -> int:
    """Chat with a model, or send one prompt and print the answer."""
    options = {"max_tokens": max_tokens, "temperature": temperature, "service_tier": tier}
    once = _one_prompt(session, prompt)
    conversation = ChatHistory(model or first_model(session.api), system, options)
    asker = _asker(session, RateLimitPatience(wait, max_wait, session.out.note, time.sleep))
    if once is None:
        return _converse(session, conversation, asker)
    _answer_once(session, conversation, once, asker)
    return ExitCode.OK


def _one_prompt(session: Session, prompt: str | None) -> str | None:
    """The prompt of a single question, None for a conversation. Raises Failed (usage)."""
    text = prompt if prompt is not None else None if sys.stdin.isatty() else sys.stdin.read()
    if text is None and session.out.json:
        raise Failed("--json wants a prompt, as an argument or on stdin", ExitCode.USAGE)
    if text is not None and not text.strip():
        raise Failed("the prompt is empty", ExitCode.USAGE)
    return text


def _asker(session: Session, patience: RateLimitPatience) -> _Asker:
    clock = SystemClock()

    def ask_now(conversation: ChatHistory, prompt: str, hear: Callable[[str], None]) -> ChatReply:
        return ask_patiently(lambda: ask(session.api, conversation.request(prompt), hear, clock), patience)

    return ask_now


def _answer_once(session: Session, conversation: ChatHistory, prompt: str, asker: _Asker) -> None:
    """Only the answer on stdout, as it comes; with --json, one document at the end."""
    if session.out.json:
        session.out.data(_document(asker(conversation, prompt, lambda _text: None)))
        return
    answer = asker(conversation, prompt, _writer())
    if not answer.text.endswith("\n"):
        print(flush=True)


def _writer() -> Callable[[str], None]:
    """Prints pieces of an answer; on a terminal without control characters."""
    clean = safe if sys.stdout.isatty() else str
    return lambda text: print(clean(text), end="", flush=True)


def _document(answer: ChatReply) -> dict[str, Any]:
    return {
        "text": answer.text,
        "model": answer.model,
        "tier": answer.tier or None,
        "usage": answer.usage,
        "finish_reason": answer.finish_reason or None,
        "ms": round(answer.total_ms, 1),
        "first_token_ms": round(answer.first_token_ms, 1) if answer.first_token_ms is not None else None,
        "request_id": answer.request_id or None,
        "limits": {state.name: {"limit": state.limit, "remaining": state.remaining, "reset": state.reset} for state in answer.limits},
    }


def _converse(session: Session, conversation: ChatHistory, asker: _Asker) -> int:
    from penstock.cli.chat import prompt as line

    terminal = console(sys.stderr)
    entries = line.session()
    world = ReplCallbacks(
        read=entries.prompt,
        ask=asker,
        models=lambda: model_ids(session.api),
        write=_writer(),
        say=lambda text: terminal.print(safe(text), style="dim", markup=False),
    )
    return Repl(conversation, world).run()
