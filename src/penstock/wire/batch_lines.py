"""The lines of a batch's files: requests in, answers and errors out. Bodies stay the bytes that they were."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from penstock.domain.durable.batches import BatchUsage, LineFault
from penstock.wire.usage import read_usage

LARGEST_LINE_BYTES = 1 << 20
_encode = msgspec.json.encode


class RequestLine(msgspec.Struct, gc=False):
    """One request. Fields that OpenAI does not have are not looked at, as OpenAI does."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=512)]
    method: str
    url: str
    body: msgspec.Raw


class BatchRequestBody(msgspec.Struct, gc=False):
    """What a batch must know of a request's body; whether it is a good one shows when it is run."""

    model: str | None = None
    input: str | list[msgspec.Raw] | None = None


class _Answered(msgspec.Struct, gc=False):
    usage: Any = None


class _TaskBody(msgspec.Struct, gc=False):
    body: BatchRequestBody


class LineOutcome(msgspec.Struct, gc=False):
    """What a task of the kind `inference` leaves."""

    status_code: int
    request_id: str
    body: msgspec.Raw


_line = msgspec.json.Decoder(RequestLine)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_asked = msgspec.json.Decoder(BatchRequestBody)
_task_body = msgspec.json.Decoder(_TaskBody)
_outcome = msgspec.json.Decoder(LineOutcome)
_answered = msgspec.json.Decoder(_Answered)


def read_line(text: bytes, number: int, endpoint: str) -> RequestLine | LineFault:
    """A line of a batch's file, or why the file is none. `number` counts from 1."""
    try:
        if b"\0" in text:  # UTF-16 has one beside every letter
            return _not_utf_8(number)
        text.decode("utf-8")
        line = _line.decode(text)
    except msgspec.ValidationError as error:
        return _malformed(str(error), number)
    except UnicodeDecodeError:
        return _not_utf_8(number)
    except (msgspec.DecodeError, RecursionError):
        return LineFault("invalid_json_line", "This line is not parseable as valid JSON.", number)
    if "\0" in line.custom_id:
        return LineFault("invalid_parameter", "'custom_id' must not contain the character NUL.", number, "custom_id")
    if line.method != "POST":
        return LineFault("invalid_method", "The method of every line must be 'POST'.", number, "method")
    if line.url != endpoint:
        return LineFault("mismatched_url", f"The url of every line must be the batch's endpoint, '{endpoint}'.", number, "url")
    try:
        _object.decode(line.body)
    except msgspec.MsgspecError:
        return LineFault("invalid_body", "The body of a line must be a JSON object.", number, "body")
    return line


def _not_utf_8(number: int) -> LineFault:
    return LineFault("invalid_json_line", "This line is not UTF-8: the file must be UTF-8.", number)


def _malformed(sentence: str, number: int) -> LineFault:
    for name in ("custom_id", "method", "url", "body"):
        if f"missing required field `{name}`" in sentence:
            return LineFault("missing_required_parameter", f"Missing required parameter: '{name}'.", number, name)
        if sentence.endswith(f"`$.{name}`"):
            return LineFault("invalid_parameter", f"'{name}' must be a text of 1 to 512 characters.", number, name)
    return LineFault("invalid_json_line", "This line is not a JSON object with custom_id, method, url and body.", number)


def asked(line: RequestLine) -> BatchRequestBody:
    """Empty where the body is not what its endpoint takes; that is for the answer to say."""
    try:
        return _asked.decode(line.body)
    except msgspec.MsgspecError:
        return BatchRequestBody()


def task_payload(line: RequestLine) -> str:
    """What the kind `inference` takes, at the class batch."""
    return f'{{"url":"{line.url}","class":"batch","body":{bytes(line.body).decode()}}}'


def model_of(payload: str | None) -> str:
    """The model that the task of a line asks for; empty where it names none."""
    try:
        return _task_body.decode(payload or "").body.model or ""
    except msgspec.MsgspecError:
        return ""


def outcome(result: str | None) -> LineOutcome | None:
    """What an ended task left; None: it left nothing."""
    return None if result is None else _outcome.decode(result)


def used(answer: LineOutcome) -> BatchUsage:
    """The tokens that an answer names."""
    try:
        usage = _answered.decode(answer.body).usage
    except msgspec.MsgspecError:
        usage = None
    if usage is None:
        return BatchUsage()
    report = read_usage(usage)
    return BatchUsage(report.prompt or 0, report.cached, report.completion or 0, report.reasoning)


def answer_line(line_id: str, custom_id: str, answer: LineOutcome) -> bytes:
    return b'{"id":%b,"custom_id":%b,"response":{"status_code":%d,"request_id":%b,"body":%b},"error":null}\n' % (
        _encode(line_id),
        _encode(custom_id),
        answer.status_code,
        _encode(answer.request_id),
        _one_line(bytes(answer.body)),
    )


def _one_line(body: bytes) -> bytes:
    """Some engines indent what they answer; a line break can only be between values."""
    return msgspec.json.format(body, indent=-1) if b"\n" in body or b"\r" in body else body


def error_line(line_id: str, custom_id: str, code: str, message: str) -> bytes:
    """A line that was never answered."""
    return b'{"id":%b,"custom_id":%b,"response":null,"error":%b}\n' % (
        _encode(line_id),
        _encode(custom_id),
        _encode({"code": code, "message": message}),
    )


Ending = Literal["expired", "cancelled"]
UNDONE: dict[Ending, tuple[str, str]] = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed, because the batch was cancelled."),
}
