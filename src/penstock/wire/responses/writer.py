"""A chat completion's answer as a Response: whole, or as the events of a stream.

One machine for both: a whole answer is a stream of one chunk whose events are not read.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from penstock.wire.chat.tolerant import reread
from penstock.wire.responses.content import arguments_of, is_object, mapping, spoken, whole_number
from penstock.wire.responses.items import Json
from penstock.wire.sse import event_data

_encode = msgspec.json.encode
UNREADABLE = "The answer of the worker could not be read."
_KNOWN_CODES = {
    **dict.fromkeys(("rate_limit_exceeded", "insufficient_quota", "resource_unavailable"), "rate_limit_exceeded"),
    **dict.fromkeys(
        ("invalid_request_error", "invalid_json", "context_length_exceeded", "unsupported_parameter", "model_not_found"), "invalid_prompt"
    ),
}
"""Our codes as OpenAI's for a Response, of which there are few; any other is `server_error`."""


def framed(events: list[Json]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode("ascii"), _encode(event)) for event in events)


class ResponseWriter:
    """`document` is the Response as far as it is known. Every event has the next number."""

    def __init__(self, document: Json, new_id: Callable[[str], str], *, with_logprobs: bool = False) -> None:
        self.document = document
        self._new_id = new_id
        self._with_logprobs = with_logprobs
        self._number = 0
        self._events: list[Json] = []
        self._open: Json | None = None
        """The message or reasoning item that is being written."""
        self._calls: list[Json] = []
        self._latest: dict[Any, Json] = {}
        """By index, the call that the next piece with it belongs to."""
        self._reason: str | None = None
        self.is_whole = False
        self.is_over = False
        """The terminal event has been made: nothing may follow."""
        self.problem = ""
        """Why the answer could not be read, for the log."""

    # a stream

    def begin(self) -> list[Json]:
        self._tell("response.created", response=self._shown())
        self._tell("response.in_progress", response=self._shown())
        return self._taken()

    def chunk(self, chunk: Json) -> list[Json]:
        """One chunk of a chat stream."""
        self._note(chunk)
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or choice.get("message") or {}
            for _, text in spoken(delta.get("reasoning_content") or delta.get("reasoning") or delta.get("thinking")):
                self._think(text)
            self._speak(delta.get("content"), mapping(choice.get("logprobs")).get("content") or [])
            for _, text in spoken(delta.get("refusal")):
                self._refuse(text)
            for place, call in enumerate(delta.get("tool_calls") or ()):
                self._call(place, call)
            self._reason = choice.get("finish_reason") or self._reason
        return self._taken()

    def ended(self, now: float) -> Json:
        """The document of an answer that is whole, to be stored before the client hears of it."""
        cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(self._reason or "")
        self._close_everything("incomplete" if cut else "completed")
        if cut:
            self.document |= {"status": "incomplete", "incomplete_details": {"reason": cut}}
        else:
            self.document |= {"status": "completed", "completed_at": int(now)}
        return self.document

    def finish(self, now: float) -> list[Json]:
        """The answer is whole; the last of these events is the only terminal one."""
        status = self.ended(now)["status"]
        self._tell(f"response.{status}", response=self._shown())
        self.is_over = True
        return self._taken()

    def fail(self, code: str, message: str) -> list[Json]:
        self._close_everything("incomplete")
        return self._end_failed(code, message)

    def _end_failed(self, code: str, message: str) -> list[Json]:
        self.is_over = True
        self.document |= {"status": "failed", "error": {"code": _KNOWN_CODES.get(code, "server_error"), "message": message}}
        self._tell("response.failed", response=self._shown())
        return self._taken()

    def feed(self, data: bytes) -> bytes:
        """Whole events of a chat stream, as the pipeline gives them; comments pass through. At its end `is_whole`.

        Whatever cannot be read ends the answer as failed; what follows is not looked at.
        """
        out = []
        for event in data.split(b"\n\n"):
            if self.is_over:
                break
            payload = event_data(event)
            if payload is None:
                if event.startswith(b":"):
                    out.append(event + b"\n\n")
            elif payload == b"[DONE]":
                self.is_whole = True
            else:
                out.append(self._read(payload))
        return b"".join(out)

    def _read(self, payload: bytes) -> bytes:
        before = self._number
        try:
            chunk = _decoded(payload)
            error = chunk.get("error")
            if not error:
                return framed(self.chunk(chunk))
            told = mapping(error)
            return framed(self.fail(str(told.get("code")), str(told.get("message") or error)))
        except Exception as problem:  # an engine may send anything: the client still gets its terminal event
            return framed(self.give_up(f"{type(problem).__name__}: {problem}", before))

    def give_up(self, problem: str, number: int | None = None) -> list[Json]:
        """The events that end an answer which cannot be read, even where its items are in disorder. `number`: of the first of them."""
        self.problem = problem[:500]
        if number is not None:
            self._events, self._number = [], number
        try:
            return self.fail("server_error", UNREADABLE)
        except Exception:  # an item that was just begun
            self._events, self._open = [], None
            if number is not None:
                self._number = number
            return self._end_failed("server_error", UNREADABLE)

    # what came

    def _note(self, chunk: Json) -> None:
        if tier := chunk.get("service_tier"):
            self.document["service_tier"] = tier
        if model := chunk.get("model"):
            self.document["model"] = model
        if isinstance(usage := chunk.get("usage"), dict) and usage:
            self.document["usage"] = shown_usage(usage)

    def _speak(self, content: Any, logprobs: list[Json]) -> None:
        for voice, text in spoken(content):
            if voice == "say":
                self._say(text, logprobs)
                logprobs = []
            elif voice == "think":
                self._think(text)
            else:
                self._refuse(text)

    def _think(self, text: str | None) -> None:
        if not text:
            return
        item = self._opened("reasoning", {"summary": [], "content": []})
        part = self._part(item, "reasoning_text", {"text": ""})
        part["text"] += text
        self._tell_part("response.reasoning_text.delta", item, delta=text)

    def _say(self, text: str | None, logprobs: list[Json]) -> None:
        if not text:
            return
        item = self._opened("message", {"role": "assistant", "content": []})
        part = self._part(item, "output_text", {"text": "", "annotations": [], "logprobs": []})
        part["text"] += text
        known = [_logprob(one) for one in logprobs] if self._with_logprobs else []
        part["logprobs"] += known
        self._tell_part("response.output_text.delta", item, delta=text, logprobs=[_brief(one) for one in known])

    def _refuse(self, text: str | None) -> None:
        if not text:
            return
        item = self._opened("message", {"role": "assistant", "content": []})
        part = self._part(item, "refusal", {"refusal": ""})
        part["refusal"] += text
        self._tell_part("response.refusal.delta", item, delta=text)

    def _call(self, place: int, call: Json) -> None:
        """`place` in its chunk, for engines that give no index. A call with another id, or a name after whole arguments, is another one:
        Gemini's layer gives every call the index 0."""
        function = mapping(call.get("function"))
        index = call.get("index")
        key = place if index is None else index
        item = self._latest.get(key)
        name, given = function.get("name"), call.get("id")
        if item is not None and name and (given != item["call_id"] if given else is_object(item["arguments"])):
            item = None
        if item is None:
            item = self._latest[key] = self._began_call(given, name)
        if piece := arguments_of(function):
            item["arguments"] += piece
            self._tell_item("response.function_call_arguments.delta", item, delta=piece)

    def _began_call(self, given: str | None, name: str | None) -> Json:
        self._close_open("completed")
        item = {
            "id": self._new_id("fc"),
            "type": "function_call",
            "status": "in_progress",
            "call_id": given or self._new_id("call"),
            "name": name or "",
            "arguments": "",
        }
        self._calls.append(item)
        self._add(item)
        return item

    # items and their parts

    def _opened(self, kind: str, fields: Json) -> Json:
        """The item of that kind that is being written; another one is over then."""
        if self._open is not None and self._open["type"] == kind:
            return self._open
        self._close_open("completed")
        item: Json = {"id": self._new_id("msg" if kind == "message" else "rs"), "type": kind, "status": "in_progress", **fields}
        self._open = item
        self._add(item)
        return item

    def _add(self, item: Json) -> None:
        self.document["output"].append(item)
        self._tell("response.output_item.added", output_index=self._place(item), item=_copy(item))

    def _part(self, item: Json, kind: str, fields: Json) -> Json:
        """The part that is being written; one of another kind before it is over then."""
        content: list[Json] = item["content"]
        if content and content[-1]["type"] == kind:
            return content[-1]
        if content:
            self._close_part(item)
        part = {"type": kind, **fields}
        content.append(part)
        self._tell_part("response.content_part.added", item, part=_copy(part))
        return part

    def _close_part(self, item: Json) -> None:
        part = item["content"][-1]
        match part["type"]:
            case "output_text":
                self._tell_part("response.output_text.done", item, text=part["text"], logprobs=[_brief(one) for one in part["logprobs"]])
            case "refusal":
                self._tell_part("response.refusal.done", item, refusal=part["refusal"])
            case _:
                self._tell_part("response.reasoning_text.done", item, text=part["text"])
        self._tell_part("response.content_part.done", item, part=_copy(part))

    def _close_open(self, status: str) -> None:
        if self._open is None:
            return
        item, self._open = self._open, None
        self._close_part(item)
        item["status"] = status
        self._tell("response.output_item.done", output_index=self._place(item), item=_copy(item))

    def _close_everything(self, status: str) -> None:
        self._close_open(status)
        for item in self._calls:
            if item["status"] == "in_progress":
                item["status"] = status
                name = {"name": item["name"]}
                self._tell_item("response.function_call_arguments.done", item, arguments=item["arguments"], **name)
                self._tell("response.output_item.done", output_index=self._place(item), item=_copy(item))

    def _place(self, item: Json) -> int:
        output: list[Json] = self.document["output"]
        return next(place for place, one in enumerate(output) if one is item)

    # events

    def _tell(self, kind: str, **fields: Any) -> None:
        self._events.append({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1

    def _tell_item(self, kind: str, item: Json, **fields: Any) -> None:
        self._tell(kind, item_id=item["id"], output_index=self._place(item), **fields)

    def _tell_part(self, kind: str, item: Json, **fields: Any) -> None:
        self._tell_item(kind, item, content_index=len(item["content"]) - 1, **fields)

    def _taken(self) -> list[Json]:
        taken, self._events = self._events, []
        return taken

    def _shown(self) -> Json:
        return {**self.document, "output": [_copy(item) for item in self.document["output"]]}


def answered(document: Json, reply: bytes, new_id: Callable[[str], str], now: float, *, with_logprobs: bool) -> Json:
    """The Response of a whole chat completion."""
    writer = ResponseWriter(document, new_id, with_logprobs=with_logprobs)
    try:
        writer.chunk(_decoded(reply))
        writer.finish(now)
    except Exception as problem:  # as in a stream
        writer.give_up(f"{type(problem).__name__}: {problem}")
    return writer.document


def failed(document: Json, code: str, message: str, new_id: Callable[[str], str]) -> Json:
    """The Response of a request that was refused or broke; `code` is ours."""
    writer = ResponseWriter(document, new_id)
    writer.fail(code, message)
    return writer.document


def shown_usage(usage: Json) -> Json:
    """Chat's usage object in the Responses API's words."""
    prompt, completion = whole_number(usage.get("prompt_tokens")), whole_number(usage.get("completion_tokens"))
    cached = whole_number(mapping(usage.get("prompt_tokens_details")).get("cached_tokens"))
    reasoning = whole_number(mapping(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + completion,
    }


def _decoded(data: bytes) -> Json:
    """Raises msgspec.DecodeError for what is no object."""
    try:
        return msgspec.json.decode(data, type=Json)
    except msgspec.DecodeError:
        again = reread(data)
        if again is None:
            raise
        return msgspec.json.decode(again, type=Json)


def _logprob(one: Json) -> Json:
    return {
        "token": one.get("token", ""),
        "logprob": one.get("logprob", 0.0),
        "bytes": one.get("bytes") or [],
        "top_logprobs": [
            {"token": top.get("token", ""), "logprob": top.get("logprob", 0.0), "bytes": top.get("bytes") or []}
            for top in one.get("top_logprobs") or ()
        ],
    }


def _brief(one: Json) -> Json:
    tops = [{"token": top["token"], "logprob": top["logprob"]} for top in one["top_logprobs"]]
    return {"token": one["token"], "logprob": one["logprob"], "top_logprobs": tops}


def _copy(item: Json) -> Json:
    """As it is now: what is written later must not change an event that has not been read yet."""
    copied = {**item}
    if "content" in copied:
        copied["content"] = [{**part} for part in copied["content"]]
    return copied
