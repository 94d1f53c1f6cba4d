"""Give each service of a fleet of containers its own passwords, in a folder that no other service sees."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ...contracts.errors import UsageError
from .folder import USERS, replace_secret


class Share(NamedTuple):
    """The files of one service: a folder, required file names, and optional ones."""

    folder: Path
    names: tuple[str, ...]
    if_there: tuple[str, ...] = ()


def take_over(given: Path, made: Path, *, needed: Sequence[str] = ()) -> Iterator[str]:
    """Copy a user's own files over the generated ones; yield each name that was new or changed.

    given: a folder that may be missing. Redis's users are never copied: they follow from the passwords. Raises
    UsageError, before any copy, if a needed file is in neither folder.
    """
    for name in needed:
        if not (given / name).is_file() and not (made / name).is_file():
            raise UsageError(f"there is no {given / name}: write the secret into this file, with nothing else")
    made.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in sorted(given.iterdir()) if given.is_dir() else ():
        is_secret = file.is_file() and file.name != USERS and not file.name.startswith(".")
        if is_secret and _put(file.read_bytes(), made / file.name):
            yield file.name


def hand_out(made: Path, shares: Sequence[Share]) -> Iterator[Path]:
    """Copy each service's files to its folder; yield each file that was new or changed.

    Raises UsageError for a missing required file.
    """
    for share in shares:
        for name in share.names:
            if not (made / name).is_file():
                raise UsageError(f"{share.folder} needs {name}, but there is no {made / name}")
        for name in (*share.names, *share.if_there):
            if (made / name).is_file() and _put((made / name).read_bytes(), share.folder / name):
                yield share.folder / name


def _put(content: bytes, file: Path) -> bool:
    if file.is_file() and file.read_bytes() == content:
        return False
    replace_secret(file, content)
    return True
