"""A chat completion's answer as a Response: whole, or as the events of a stream.

One machine for both: a whole answer is a stream of one chunk whose events are not read.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from penstock.wire.responses.items import Json
from penstock.wire.sse import event_data

_encode = msgspec.json.encode
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
        self._calls: dict[int, Json] = {}
        self._reason: str | None = None
        self.is_whole = False

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
            self._think(delta.get("reasoning_content") or delta.get("reasoning"))
            self._say(delta.get("content"), (choice.get("logprobs") or {}).get("content") or [])
            self._refuse(delta.get("refusal"))
            for place, call in enumerate(delta.get("tool_calls") or ()):
                self._call(call.get("index", place), call)
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
        return self._taken()

    def fail(self, code: str, message: str) -> list[Json]:
        self._close_everything("incomplete")
        self.document |= {"status": "failed", "error": {"code": _KNOWN_CODES.get(code, "server_error"), "message": message}}
        self._tell("response.failed", response=self._shown())
        return self._taken()

    def feed(self, data: bytes) -> bytes:
        """Whole events of a chat stream, as the pipeline gives them; comments pass through. At its end `is_whole`."""
        out = []
        for event in data.split(b"\n\n"):
            payload = event_data(event)
            if payload is None:
                if event.startswith(b":"):
                    out.append(event + b"\n\n")
                continue
            if payload == b"[DONE]":
                self.is_whole = True
                continue
            chunk = msgspec.json.decode(payload)
            error = chunk.get("error")
            out.append(framed(self.fail(str(error.get("code")), str(error.get("message"))) if error else self.chunk(chunk)))
        return b"".join(out)

    # what came

    def _note(self, chunk: Json) -> None:
        if tier := chunk.get("service_tier"):
            self.document["service_tier"] = tier
        if model := chunk.get("model"):
            self.document["model"] = model
        if usage := chunk.get("usage"):
            self.document["usage"] = shown_usage(usage)

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

    def _call(self, index: int, call: Json) -> None:
        function = call.get("function") or {}
        item = self._calls.get(index)
        if item is None:
            self._close_open("completed")
            item = {
                "id": self._new_id("fc"),
                "type": "function_call",
                "status": "in_progress",
                "call_id": call.get("id") or self._new_id("call"),
                "name": function.get("name") or "",
                "arguments": "",
            }
            self._calls[index] = item
            self._add(item)
        if piece := function.get("arguments"):
            item["arguments"] += piece
            self._tell_item("response.function_call_arguments.delta", item, delta=piece)

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
        for item in self._calls.values():
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
    writer.chunk(msgspec.json.decode(reply))
    writer.finish(now)
    return writer.document


def failed(document: Json, code: str, message: str, new_id: Callable[[str], str]) -> Json:
    """The Response of a request that was refused or broke; `code` is ours."""
    writer = ResponseWriter(document, new_id)
    writer.fail(code, message)
    return writer.document


def shown_usage(usage: Json) -> Json:
    """Chat's usage object in the Responses API's words."""
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + completion,
    }


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
