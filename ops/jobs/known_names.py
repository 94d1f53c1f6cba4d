"""The names of existing patterns, indicators and universes; a wrong name is refused with suggestions."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from ...contracts.errors import UsageError
from ...contracts.runs import EVERY_UNIVERSE
from ...db.postgres import Connection
from ...db.queries import query
from ...db.tables.backtests import unknown_symbols
from ...db.tables.universe import named_universe

_MOST_SYMBOLS = 20  # named in an error


class KnownNames(NamedTuple):
    """The existing names of one kind: our own, and those of definition rows."""

    what: str
    names: frozenset[str]

    def check(self, asked: Iterable[str]) -> None:
        """Refuse the first name that does not exist. Raises UsageError with similar names, or all names."""
        for name in asked:
            if name not in self.names:
                folded = {known.casefold(): known for known in self.names}
                close = [folded[found] for found in get_close_matches(name.casefold(), folded, n=3)]
                meant = f"did you mean {' or '.join(close)}? There are: " if close else "there are: "
                there_are = ", ".join(sorted(self.names, key=str.casefold))
                raise UsageError(f"there is no {self.what} {name!r}: {meant}{there_are}")


def known_patterns(connection: Connection) -> KnownNames:
    """Return every pattern that can be enabled, and those in rows of the application."""
    from ...workers.detect.patterns.registry import PATTERNS  # noqa: PLC0415  # it loads TA-Lib

    patterns, _ = _of_rows(connection)
    return KnownNames("pattern", frozenset({*PATTERNS, *patterns}))


def known_indicators(connection: Connection) -> KnownNames:
    """Return every indicator that can be enabled, and those in rows of the application."""
    from ...workers.detect.indicators import INDICATORS  # noqa: PLC0415  # it loads TA-Lib

    _, indicators = _of_rows(connection)
    return KnownNames("indicator", frozenset({*INDICATORS, *indicators}))


def check_symbols(connection: Connection, asked: Sequence[str]) -> None:
    """Refuse symbols that the table `symbols` does not have. Raises UsageError with similar ones."""
    unknown = unknown_symbols(connection, asked)
    if not unknown:
        return
    every = [symbol for (symbol,) in connection.execute(query("every_symbol"))]
    folded = {known.casefold(): known for known in every}
    close = [folded[found] for found in get_close_matches(unknown[0].casefold(), folded, n=3)]
    meant = f"did you mean {' or '.join(close)}?" if close else _some_of(every)
    others = f" ({len(unknown)} of the given symbols do not exist)" if len(unknown) > 1 else ""
    raise UsageError(f"there is no symbol {unknown[0]!r}{others}: {meant}")


def _some_of(every: Sequence[str]) -> str:
    if not every:
        return "the table `symbols` is empty"
    some = ", ".join(every[:_MOST_SYMBOLS])
    return f"there are: {some}" if len(every) <= _MOST_SYMBOLS else f"there are {len(every):,}, such as {some}"


def universe_named(connection: Connection, name: str) -> str:
    """Return the NAME:KEY of a universe in cache_entries, or `all`; files are not accepted.

    Raises UsageError, which lists the existing universes.
    """
    return name if name == EVERY_UNIVERSE else str(named_universe(connection, name).entry)


def symbols_of_universes(connection: Connection, names: Sequence[str]) -> tuple[str, ...] | None:
    """Return the symbols of several universes together, each once; None: every symbol. Raises UsageError."""
    if EVERY_UNIVERSE in names:
        return None
    found = [named_universe(connection, name) for name in names]
    return tuple(dict.fromkeys(symbol for one in found for symbol in one.symbols))


def _of_rows(connection: Connection) -> tuple[list[str], list[str]]:
    if connection.execute(query("definitions_exist")).fetchone() != (True,):
        return [], []
    patterns, indicators = connection.execute(query("seeded_definitions")).fetchone() or (None, None)
    return patterns or [], indicators or []
