"""The built web files that come with the package: each one a route, so that no path can name anything else."""

import mimetypes
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

DASHBOARD = Path(__file__).parent / "dashboard"
_YEAR = "public, max-age=31536000, immutable"


def static_routes(folder: Path = DASHBOARD) -> list[Route]:
    """None when the folder has no `index.html`. Names under `assets/` carry a hash of their content and may be kept for ever."""
    index = folder / "index.html"
    if not index.is_file():
        return []
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in (".py", ".pyc", ".map")]
    return [_route("/", index), *(_route("/" + path.relative_to(folder).as_posix(), path) for path in files)]


def _route(path: str, file: Path) -> Route:
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    headers = {"cache-control": _YEAR if path.startswith("/assets/") else "no-cache"}

    async def send(_request: Request) -> Response:
        return FileResponse(file, media_type=media_type, headers=headers)

    return Route(path, send, methods=["GET"], include_in_schema=False, name=path)
