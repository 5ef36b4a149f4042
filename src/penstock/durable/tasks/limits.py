"""How large the parts of a task may be, and the typed errors of what is larger."""

from penstock.domain.errors import TooLarge, Unprocessable

PAYLOAD_BYTES = 1_000_000
"""Also of a result: what is larger belongs into a file, and its id into the payload."""
PROGRESS_BYTES = 65_536
"""Of a progress report, as JSON."""
OUTPUT_CHARACTERS = 1_000_000
"""Of what a function printed in one attempt, whatever a runner is set to keep."""
RESOLVED_BYTES = 8_000_000
"""A payload after its parents' results were put in."""
PARENTS_CHARACTERS = 64_000_000
"""Results of the parents that a payload refers to, all together, of which it may use parts."""
MOST_TASKS = 10_000
MOST_PARENTS = 1_000
LONGEST_MESSAGE = 4_000
LONGEST_CODE = 100
MOST_WEBHOOK_ATTEMPTS = 100
LEAST_WEBHOOK_BACKOFF_SECONDS = 1.0


class PayloadTooLarge(TooLarge):
    code = "payload_too_large"


class TooManyTasks(Unprocessable):
    code = "too_many_tasks"


def check_payload(text: str, param: str = "payload") -> str:
    """The text itself. Raises PayloadTooLarge."""
    # Characters first: most texts are far too short to be worth encoding.
    if len(text) * 4 > PAYLOAD_BYTES and (size := len(text.encode())) > PAYLOAD_BYTES:
        raise PayloadTooLarge(
            f"A payload has at most {PAYLOAD_BYTES} bytes of JSON, this one has {size}: upload it (POST /v1/files) and pass the file's id.",
            param=param,
            retry=False,
        )
    return text


def check_webhook_pace(attempts: int | None, backoff_seconds: float | None, backoff_cap_seconds: float | None) -> None:
    """Another server pays for each attempt. None: the kind's own value. Raises Unprocessable."""
    if attempts is not None and attempts > MOST_WEBHOOK_ATTEMPTS:
        raise Unprocessable(f"A webhook has at most {MOST_WEBHOOK_ATTEMPTS} attempts.", param="max_attempts")
    for param, seconds in (("backoff_seconds", backoff_seconds), ("backoff_cap_seconds", backoff_cap_seconds)):
        if seconds is not None and seconds < LEAST_WEBHOOK_BACKOFF_SECONDS:
            message = f"Attempts of a webhook are at least {LEAST_WEBHOOK_BACKOFF_SECONDS:g} second apart."
            raise Unprocessable(message, param=param)


def too_long(text: str) -> bool:
    """Whether a result is larger than may be kept."""
    return len(text) * 4 > PAYLOAD_BYTES and len(text.encode()) > PAYLOAD_BYTES


def shortened(message: str) -> str:
    """An error's message of a bearable length; its end is kept as well, because a traceback says there what happened."""
    if len(message) <= LONGEST_MESSAGE:
        return message
    half = LONGEST_MESSAGE // 2
    return f"{message[:half]}\n... {len(message) - 2 * half} characters left out ...\n{message[-half:]}"
