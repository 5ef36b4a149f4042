"""The gateway as the commands see it: JSON in, JSON out, every refusal a typed error."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from penstock import __version__
from penstock.cli.exits import Failed, RequestRefused
from penstock.net.api_client.connection import GatewayConnection, around_proxies, verified_by
from penstock.net.api_client.connection import request_headers as connection_headers
from penstock.net.api_client.refusals import Refusal, read_refusal, refusal_of_fields

if TYPE_CHECKING:
    import httpx

PAGE = 1000
"""The most items that a list gives at once."""


class Api:
    """One gateway and one key. `open` (or `with`) before use."""

    def __init__(self, connection: GatewayConnection, *, timeout_seconds: float = 30.0) -> None:
        self.connection = connection
        self._timeout_seconds = timeout_seconds
        self._client: httpx.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def client(self) -> "httpx.Client":
        if self._client is None:
            import httpx

            self._client = httpx.Client(
                base_url=self.connection.root,
                headers=request_headers(self.connection),
                timeout=self._timeout_seconds,
                mounts=around_proxies(self.connection),
                verify=verified_by(self.connection),
            )
        return self._client

    def get(self, path: str, **params: Any) -> Any:
        return self._json("GET", path, params=params)

    def listed(self, path: str) -> dict[str, Any]:
        """A whole list, however many pages it takes, in the shape of one page."""
        items: list[Any] = []
        page = self.get(path, limit=PAGE)
        while True:
            items += page["data"]
            if not page.get("has_more") or not page["data"]:
                return {"data": items, "has_more": False}
            page = self.get(path, limit=PAGE, after=page["data"][-1]["id"])

    def post(self, path: str, body: Mapping[str, Any] | None = None, **params: Any) -> Any:
        return self._json("POST", path, body=body, params=params)

    def put(self, path: str, body: Mapping[str, Any], *, if_match: str | None = None, **params: Any) -> Any:
        return self._json("PUT", path, body=body, params=params, if_match=if_match)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._json("PATCH", path, body=body)

    def change(self, path: str, body: Mapping[str, Any]) -> Any:
        """As `patch`, where null is a value: it takes a limit away."""
        return self._json("PATCH", path, body=body, keep_none=True)

    def delete(self, path: str) -> Any:
        return self._json("DELETE", path)

    def _json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        keep_none: bool = False,
        if_match: str | None = None,
    ) -> Any:
        """The decoded answer, None when it has no body. Raises RequestRefused, Failed."""
        headers = {"if-match": if_match} if if_match is not None else None
        given = {name: value for name, value in (params or {}).items() if value is not None}
        with network_problems(self.connection.root):
            response = self.client.request(
                method, path, params=given, json=body if body is None or keep_none else without_none(body), headers=headers
            )
        if not response.is_success:
            raise refusal(response.status_code, response.headers, response.content)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise Failed(f"{self.connection.root} does not answer like Penstock: {path} is not JSON") from error

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any], *, timeout_seconds: float) -> Iterator["httpx.Response"]:
        """A streamed answer; leaving the block closes the connection, which stops the generation. Raises RequestRefused, Failed."""
        with (
            network_problems(self.connection.root),
            self.client.stream("POST", path, json=without_none(body), timeout=timeout_seconds) as response,
        ):
            if not response.is_success:
                raise refusal(response.status_code, response.headers, response.read())
            yield response


def segment(name: str, *, slashes: bool = False) -> str:
    """A name as a piece of a path; model ids keep their slashes."""
    return quote(name, safe="/:" if slashes else "")


def without_none(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}


def request_headers(connection: GatewayConnection) -> dict[str, str]:
    return connection_headers(connection, f"penstock-cli/{__version__}")


@contextmanager
def network_problems(root: str) -> Iterator[None]:
    """What the network does becomes one sentence. Raises Failed."""
    import httpx

    from penstock.net.failures import connection_failure

    try:
        yield
    except httpx.TimeoutException as error:
        raise Failed(f"{root} did not answer in time") from error
    except httpx.ConnectError as error:
        reason = connection_failure(error)
        hint = "" if "certificate" in reason else "is the gateway running? `penstock up` starts one"
        raise Failed(f"cannot reach {root}: {reason}", hint=hint) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Failed(f"talking to {root} failed: {str(error) or type(error).__name__}") from error


def refusal(status: int, headers: Mapping[str, str], content: bytes) -> RequestRefused:
    """The typed error of an answer in either shape."""
    return _refused(read_refusal(status, headers, content))


def refusal_of_body(status: int, headers: Mapping[str, str], body: Mapping[str, Any]) -> RequestRefused:
    """As `refusal`, for a decoded body; also for the error event of a stream, whose status is its code's own."""
    return _refused(refusal_of_fields(status, headers, body))


def _refused(refusal: Refusal) -> RequestRefused:
    hint = _HINTS.get(refusal.status, "")
    return RequestRefused(refusal.error, refusal.status, request_id=refusal.request_id, code=refusal.code, hint=hint)


_HINTS = {
    401: "give a key with --api-key, PENSTOCK_API_KEY or a profile (`penstock profiles`); a key is only sent to its own gateway",
    403: "the key lacks the scope; `penstock keys list` shows scopes, an admin key makes others",
}
