"""HEAD wherever GET is: the routes answer a GET, of which the server sends the head alone."""

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """The server omits the body by the method of its own scope, which stays as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        inner = {**scope, "method": "GET"}
        try:
            await self.app(inner, receive, send)
        finally:
            if "route" in inner:
                scope["route"] = inner["route"]  # for the log
