"""Options by which commands choose the rows to print: symbols and a time range; and the error for no rows."""

import functools
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import click

from ....contracts.errors import NothingFound
from ....contracts.timeframe import INTRADAY
from .setting import F, typed

MOST_ROWS = 1_000_000_000  # of one symbol; Python cannot count to every number that can be typed

# How a time is written, by output format.
MOMENT = dict.fromkeys(("csv", "json"), "%Y-%m-%dT%H:%M:%SZ") | {"table": "%Y-%m-%d %H:%M"}


class NamesType(click.ParamType[tuple[str, ...]]):
    """A list of names, `A,B`. Each has 1 to `longest` printable characters, after blanks around it are removed."""

    name = "A,B"

    def __init__(self, longest: int = 255) -> None:
        self._longest = longest

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return each name once, in order."""
        if not isinstance(value, str):
            return tuple(str(name) for name in value) if isinstance(value, Iterable) else (str(value),)
        names = tuple(dict.fromkeys(name for part in value.split(",") if (name := part.strip())))
        if not names:
            self.fail(f"{value!r} has no name in it", param, ctx)
        if wrong := [name for name in names if len(name) > self._longest or not name.isprintable()]:
            self.fail(f"{wrong[0]!r} is not a name of 1 to {self._longest} printable characters", param, ctx)
        return names


class TimeType(click.ParamType[datetime]):
    """A time in ISO-8601, in UTC if it has no zone."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time with its zone."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not an ISO-8601 time such as 2013-10-07T14:30:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(slots=True)
class Selection:
    """Which rows to print: those of `symbols` (empty: all), on bars that start at or after `start` and before `end`.

    last: how many rows of each symbol, the latest ones; None: all.
    """

    symbols: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    last: int | None = None
    _seen: set[str] = field(default_factory=set)

    def values(self) -> dict[str, Any]:
        """Return the parameters of the queries, by name."""
        return {"symbols": list(self.symbols) or None, "from": self.start, "to": self.end}

    def chosen(
        self, rows: Iterable[tuple[Any, ...]], *, each: Callable[[tuple[Any, ...]], Hashable] = itemgetter(0)
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the chosen rows, and remember their symbols, the first column.

        rows: in order. `last` applies to each run of rows with the same `each`.
        """
        for row in rows if self.last is None else self._last(rows, each):
            self._seen.add(row[0])
            yield row

    def _last(
        self, rows: Iterable[tuple[Any, ...]], each: Callable[[tuple[Any, ...]], Hashable]
    ) -> Iterator[tuple[Any, ...]]:
        for _, group in groupby(rows, each):
            yield from deque(group, maxlen=self.last)

    def check_found(self, what: str) -> None:
        """Print which symbols had no rows. Raises NothingFound if there was no row at all."""
        span = "".join(
            f" {name} {at:%Y-%m-%dT%H:%M:%S%z}" for name, at in (("from", self.start), ("to", self.end)) if at
        )
        missing = [symbol for symbol in self.symbols if symbol not in self._seen]
        none = f"no {what}{' of ' if missing else ''}{', '.join(missing)}{span}"
        if not self._seen:
            raise NothingFound(none + self._other_case(missing))
        if missing:
            click.echo(none + self._other_case(missing), err=True)

    def _other_case(self, missing: list[str]) -> str:
        lower = [symbol for symbol in missing if symbol != symbol.upper()]
        return f": symbols are case-sensitive; --symbol {','.join(map(str.upper, lower))}?" if lower else ""


def selection_options(command: F) -> F:
    """Add --symbol, --from, --to and --last; the command gets them as `chosen`, a Selection."""

    @typed("--symbol", "symbols", type=NamesType(), default=None, show_default="all", help="Only these symbols.")
    @typed("--from", "start", type=TimeType(), help="Only bars that start at or after this time (UTC).")
    @typed("--to", "end", type=TimeType(), help="Only bars that start before this time (UTC).")
    @typed("--last", type=click.IntRange(1, MOST_ROWS), help="Only the latest so many of each symbol.")
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        symbols: tuple[str, ...] | None,
        start: datetime | None,
        end: datetime | None,
        last: int | None,
        **kwargs: Any,
    ) -> Any:
        if start and end and start >= end:
            raise click.UsageError(f"--from {start.isoformat()} is not before --to {end.isoformat()}")
        return command(*args, chosen=Selection(symbols or (), start, end, last), **kwargs)

    return wrapped  # type: ignore[return-value]  # the decorated function has the options' signature


def timeframe_option(default: str | None) -> Callable[[F], F]:
    """Make a decorator that adds --timeframe. default: None for a command that shows all timeframes."""
    return typed(
        "--timeframe",
        type=click.Choice(list(INTRADAY)),
        default=default,
        show_default=default or "all",
        help="Timeframe of the bars.",
    )


def as_moment(at: datetime, form: str = MOMENT["table"]) -> str:
    """Write a time as UTC."""
    return at.astimezone(UTC).strftime(form)
