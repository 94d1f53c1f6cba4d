"""Serve the page: its files are read once; the headers allow a browser to load nothing else."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from litestar import Request, Response, get
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from ...contracts.errors import NothingFound
from .library import FOLDER

Asked = Request[Any, Any, Any]

_TYPES = {  # Litestar adds the charset to texts
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
# The charts library writes one <style> for its logo: the hash is that of its text, for the version in npm/package.json.
_LOGO_STYLE = "sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY="
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' '{_LOGO_STYLE}'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Cache-Control": "no-cache",  # a browser asks each time, and gets 304 or the new version
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageFile(NamedTuple):
    """A file of the page. tag: its ETag, which changes with its content."""

    content: bytes
    media_type: str
    tag: str


def page_files(folder: Path = FOLDER) -> dict[str, PageFile]:
    """Read every file that a browser may load; return the files by their paths in the folder."""
    found = (path for path in sorted(folder.rglob("*")) if path.suffix in _TYPES)
    return {path.relative_to(folder).as_posix(): _read(path) for path in found}


def _read(path: Path) -> PageFile:
    content = path.read_bytes()
    return PageFile(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def page_handlers() -> list[ControllerRouterHandler]:
    """Return the handlers of `/` and `/page/...`."""
    files = page_files()

    @get("/", include_in_schema=False, sync_to_thread=False)
    def page(request: Asked) -> Response[bytes]:
        """Return the page."""
        return _answer(files["index.html"], request)

    @get("/page/{name:path}", include_in_schema=False, sync_to_thread=False)
    def page_file(request: Asked, name: FromPath[str]) -> Response[bytes]:
        """Return one file of the page."""
        found = files.get(name.removeprefix("/"))
        if found is None:
            raise NothingFound(f"the page has no file {name!r}")
        return _answer(found, request)

    return [page, page_file]


def _answer(file: PageFile, asked: Asked) -> Response[bytes]:
    headers = _HEADERS | {"ETag": file.tag}
    if file.tag in asked.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
