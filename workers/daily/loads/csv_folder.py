"""The one folder with files of symbols that a data load may name."""

import os
from pathlib import Path

from ....contracts.errors import UsageError
from ....db.tables.universe import read_universe_file

_NO_FOLDER = "csv_file is not read: no folder is set up for it (--csv-dir)"


class CsvFolder:
    """The files below one folder. None: no folder is set up, and each file is refused."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder.resolve()

    def symbols_of(self, name: str) -> list[str]:
        """Return the symbols of a file. Raises UsageError if it is missing, outside the folder or has no symbols.

        The error does not reveal whether a file outside the folder exists.
        """
        if self._folder is None:
            raise UsageError(_NO_FOLDER)
        path = self._inside(self._folder, name)
        if not path.is_file():
            raise UsageError(f"csv_file {name!r} is not a file in the folder of --csv-dir{_those_of(self._folder)}")
        try:
            return read_universe_file(path)
        except UsageError as e:
            raise UsageError(str(e).replace(str(path), name)) from e

    @staticmethod
    def _inside(folder: Path, name: str) -> Path:
        try:
            path = Path(os.path.realpath(folder / name))
        except (ValueError, OSError):
            path = folder.parent
        if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_relative_to(folder):
            raise UsageError(f"csv_file {name!r} is outside the folder of --csv-dir")
        return path


def _those_of(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file()) if folder.is_dir() else []
    return f"; the folder has: {', '.join(names[:10])}" if names else ", which is empty"
