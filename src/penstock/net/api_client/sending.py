"""What both clients do alike on their way to httpx and back."""

from typing import TYPE_CHECKING, Any, TypeVar

from penstock.net.api_client.calls import ApiCall
from penstock.net.api_client.connection import GatewayConnection, around_proxies, request_headers, verified_by
from penstock.net.api_client.refusals import Refusal, read_refusal
from penstock.net.api_client.values import ApiError, GatewayUnreachable

if TYPE_CHECKING:
    import httpx

Answer = TypeVar("Answer")
USER_AGENT = "penstock-client"


def client_arguments(connection: GatewayConnection, timeout_seconds: float) -> dict[str, Any]:
    """For `httpx.Client` and `httpx.AsyncClient`. Raises TrustProblem for a file of certificates that cannot be read."""
    return {
        "base_url": connection.root,
        "headers": request_headers(connection, USER_AGENT),
        "timeout": timeout_seconds,
        "mounts": around_proxies(connection),
        "verify": verified_by(connection),
    }


def request_arguments(call: ApiCall[Any]) -> dict[str, Any]:
    """For `request` of either."""
    return {"method": call.method, "url": call.path, "params": call.params, "json": call.body}


def read_answer(call: ApiCall[Answer], response: "httpx.Response") -> tuple[Refusal | None, Answer | None]:
    """Exactly one of the two. Raises GatewayUnreachable for what no gateway would answer."""
    if not response.is_success:
        return read_refusal(response.status_code, response.headers, response.content), None
    try:
        return None, call.read(response.json())
    except (ValueError, KeyError, TypeError) as error:
        raise GatewayUnreachable(f"{response.url} does not answer like Penstock: {error!r}") from error


def unreachable(connection: GatewayConnection, problem: Exception | None, refusal: Refusal | None) -> Exception:
    """The error that a program gets when the call is not sent again."""
    if refusal is not None:
        return ApiError(refusal)
    return GatewayUnreachable(f"{connection.root} was not reached: {str(problem) or type(problem).__name__}")
