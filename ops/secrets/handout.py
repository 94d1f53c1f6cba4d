"""Hands each service of a fleet of containers its own passwords, as a folder that no other service sees."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ...contracts.errors import UsageError
from .folder import USERS, replace_secret


class Share(NamedTuple):
    """What one service gets: a folder, the names of files, and of those that it gets where they are there."""

    folder: Path
    names: tuple[str, ...]
    if_there: tuple[str, ...] = ()


def take_over(given: Path, made: Path, *, needed: Sequence[str] = ()) -> Iterator[str]:
    """Copy a user's own files over what was made; yield the name of each that was new or another.

    given: a folder that need not be there. The users of Redis are never taken: they follow from the passwords.
    Raises UsageError, before anything is copied, where a needed file is in neither folder.
    """
    for name in needed:
        if not (given / name).is_file() and not (made / name).is_file():
            raise UsageError(f"there is no {given / name}: write it there, as a file with nothing else in it")
    made.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in sorted(given.iterdir()) if given.is_dir() else ():
        is_secret = file.is_file() and file.name != USERS and not file.name.startswith(".")
        if is_secret and _put(file.read_bytes(), made / file.name):
            yield file.name


def hand_out(made: Path, shares: Sequence[Share]) -> Iterator[Path]:
    """Copy to each folder what is its service's; yield each file that was new or another.

    Raises UsageError for a name that is not there.
    """
    for share in shares:
        for name in share.names:
            if not (made / name).is_file():
                raise UsageError(f"{share.folder} is to get {name}, and there is no {made / name}")
        for name in (*share.names, *share.if_there):
            if (made / name).is_file() and _put((made / name).read_bytes(), share.folder / name):
                yield share.folder / name


def _put(content: bytes, file: Path) -> bool:
    if file.is_file() and file.read_bytes() == content:
        return False
    replace_secret(file, content)
    return True
