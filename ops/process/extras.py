"""The command that installs one of our extras, by path for a clone, by name from an index."""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

_NAME = "tickstockpl"


class _Folder(msgspec.Struct):
    editable: bool = False


class _Origin(msgspec.Struct):
    """PEP 610: pip's record of a package that did not come from an index."""

    url: str
    dir_info: _Folder | None = None


def how_to_install(extra: str) -> str:
    """Return the command that adds an extra to this installation."""
    return f"{_python()} -m pip install {_target(extra, _origin())}"


def _python() -> str:
    """Return our interpreter's path, relative if it is below the working directory."""
    program, here = Path(sys.executable), Path.cwd()
    return str(program.relative_to(here)) if program.is_relative_to(here) else str(program)


def _origin() -> _Origin | None:
    try:
        noted = distribution(_NAME).read_text("direct_url.json")
        return msgspec.json.decode(noted, type=_Origin) if noted else None
    except (PackageNotFoundError, msgspec.DecodeError):
        return None


def _target(extra: str, origin: _Origin | None) -> str:
    if origin is None:
        return f"'{_NAME}[{extra}]'"
    if origin.dir_info is None:  # a wheel's file, or a URL
        return f"'{_NAME}[{extra}] @ {origin.url}'"
    folder = Path(unquote(urlsplit(origin.url).path))
    place = "." if folder == Path.cwd() else str(folder)
    return f"{'-e ' if origin.dir_info.editable else ''}'{place}[{extra}]'"
