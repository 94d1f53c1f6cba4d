"""Universes: the application's table cache_entries, or a file, read again while a feed runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import structlog
from psycopg.types.json import Jsonb

from ...contracts.errors import ServerAway, SetupError, UsageError
from ...contracts.spellings.file_kind import GZIP, PEEK_BYTES, kind_of_binary
from ...contracts.universe import (
    UniverseEntry,
    UniverseFile,
    read_universe_option,
    symbols_of_text,
    symbols_of_value,
    value_with,
)
from ..postgres import Connection, connect
from ..queries import query

log = structlog.get_logger()

LOOK_EVERY_S = 30.0
_MAX_FILE_BYTES = 16 << 20
_MOST_NAMED = 20  # of the universes, in an error


class ListedUniverse(NamedTuple):
    """A row of cache_entries with symbols."""

    entry: UniverseEntry
    type: str
    environment: str
    symbols: list[str]


class Universe:
    """The symbols that a feed requests, from the option `--universe`: NAME:KEY, @FILE or a path, or a list."""

    def __init__(self, text: str, database_url: str, *, look_every_s: float = LOOK_EVERY_S) -> None:
        """Read the universe. Raises UsageError if it is missing or empty, ServerAway."""
        self._source = read_universe_option(text)
        self._database_url = database_url
        self._look_every_s = look_every_s
        self._look_at = time.monotonic() + look_every_s
        self._symbols = self._read()
        self._fault = ""

    def symbols(self) -> list[str]:
        """Return the symbols as last read; `*` alone means every symbol."""
        return list(self._symbols)

    def changed(self) -> list[str] | None:
        """Read the universe every 30 s; return its symbols if they changed, else None.

        A universe that is unreadable or empty now stays unchanged, and is logged once. May take 5 s if the database
        does not answer.
        """
        if time.monotonic() < self._look_at:
            return None
        self._look_at = time.monotonic() + self._look_every_s
        try:
            symbols = self._read()
        except (UsageError, SetupError, ServerAway, psycopg.Error) as e:
            self._say_fault(str(e).strip())
            return None
        self._fault = ""
        if symbols == self._symbols:
            return None
        log.info("universe changed", symbols=len(symbols), before=len(self._symbols))
        self._symbols = symbols
        return self.symbols()

    def _say_fault(self, fault: str) -> None:
        if fault != self._fault:
            log.warning("universe cannot be read: unchanged", symbols=len(self._symbols), why=fault)
            self._fault = fault

    def _read(self) -> list[str]:
        source = self._source
        if isinstance(source, UniverseFile):
            return read_universe_file(Path(source.path))
        if isinstance(source, UniverseEntry):
            with connect(self._database_url, name="tickstock-universe") as connection:
                return read_universe(connection, source)
        return source.symbols


def read_universe_file(path: Path) -> list[str]:
    """Return the symbols of a file. Raises UsageError."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as e:
        raise UsageError(f"{path}: {e.strerror}") from e
    return symbols_of_bytes(content, str(path))


def symbols_of_bytes(content: bytes, where: str) -> list[str]:
    """Return the symbols of a file's content. Raises UsageError."""
    if len(content) > _MAX_FILE_BYTES:
        raise UsageError(f"{where} holds over {_MAX_FILE_BYTES >> 20} MiB: this is not a list of symbols")
    try:
        return symbols_of_text(content.decode(), where)
    except UnicodeDecodeError as e:
        if content.startswith(GZIP):
            raise UsageError(f"{where} is a gzip file: unpack it first, with gunzip") from e
        kind = kind_of_binary(content[:PEEK_BYTES])
        raise UsageError(f"{where} is {kind}" if kind else f"{where} is not UTF-8 text") from e


def read_universe(connection: Connection, entry: UniverseEntry) -> list[str]:
    """Return the symbols of NAME:KEY. Raises UsageError if it is missing or not a universe."""
    with _rights():
        row = connection.execute(query("universe_value"), entry._asdict()).fetchone()
    if row is None:
        raise UsageError(f"cache_entries has no universe {entry}: `tickstock universe ls` lists them")
    return symbols_of_value(row[0], str(entry))


def named_universe(connection: Connection, text: str) -> ListedUniverse:
    """Return the universe with this NAME:KEY, key or name: SP500, sp_500 and sp500 are the same.

    Raises UsageError if no universe or several universes match; it lists the known or matching ones.
    """
    known = list_universes(connection)
    for name_of in (str, lambda entry: entry.key, lambda entry: entry.name):
        meant = {one.entry: one for one in known if _plain(name_of(one.entry)) == _plain(text)}
        if len(meant) == 1:
            return next(iter(meant.values()))
        if meant:
            raise UsageError(f"several universes are called {text!r}: {', '.join(map(str, meant))}")
    names = ", ".join(sorted({str(one.entry) for one in known})[:_MOST_NAMED]) or "none"
    raise UsageError(f"there is no universe {text!r}; there are: {names}")


def _plain(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum() or char == ":")


def list_universes(connection: Connection) -> list[ListedUniverse]:
    """Return every entry that holds symbols, by name and key."""
    with _rights():
        rows = connection.execute(query("universe_entries")).fetchall()
    return list(_universes_among(rows))


def _universes_among(rows: list[tuple[Any, ...]]) -> Iterator[ListedUniverse]:
    for name, key, kind, environment, value in rows:
        entry = UniverseEntry(name, key)
        try:
            yield ListedUniverse(entry, kind, environment or "", symbols_of_value(value, str(entry)))
        except UsageError:
            continue  # one of the application's many other entries


def write_universe(connection: Connection, entry: UniverseEntry, symbols: list[str], *, kind: str) -> list[str]:
    """Store these symbols as NAME:KEY; return the former ones.

    An existing row keeps its type, its environment and the shape of its value; a new one gets the type `kind`.
    """
    with _rights(), connection.transaction():
        connection.execute(query("lock_universes"))
        row = connection.execute(query("universe_row_for_update"), entry._asdict()).fetchone()
        if row is None:
            values = {**entry._asdict(), "type": kind, "value": Jsonb(symbols)}
            connection.execute(query("insert_universe"), values)
            return []
        connection.execute(query("update_universe"), {"id": row[0], "value": Jsonb(value_with(row[1], symbols))})
    try:
        return symbols_of_value(row[1], str(entry))
    except UsageError:
        return []  # it held something else


@contextmanager
def _rights() -> Iterator[None]:
    """Raise SetupError, which names the right to grant, if our role may not use the application's table."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as e:
        raise SetupError(
            f"{str(e).strip().splitlines()[0]}: grant SELECT, INSERT, UPDATE ON cache_entries to this role"
        ) from e
    except psycopg.errors.UndefinedTable as e:
        raise SetupError("there is no table cache_entries: run `tickstock migrate`") from e
