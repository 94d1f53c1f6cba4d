"""By what the commands that print rows choose them: symbols, a time range; and what they say where there are none."""

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
from .options import F

# How a time is written: for people, or for programs.
MOMENT = dict.fromkeys(("csv", "json"), "%Y-%m-%dT%H:%M:%SZ") | {"table": "%Y-%m-%d %H:%M"}


class NamesType(click.ParamType[tuple[str, ...]]):
    """A list of names, `A,B`: each of 1 to so many printable characters, as it is written, without blanks around it."""

    name = "A,B"

    def __init__(self, longest: int = 255) -> None:
        self._longest = longest

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return each name once, in order."""
        if not isinstance(value, str):
            return tuple(str(name) for name in value) if isinstance(value, Iterable) else (str(value),)
        names = tuple(dict.fromkeys(name for part in value.split(",") if (name := part.strip())))
        if not names:
            self.fail(f"{value!r} names nothing", param, ctx)
        if wrong := [name for name in names if len(name) > self._longest or not name.isprintable()]:
            self.fail(f"{wrong[0]!r} is not a name of 1 to {self._longest} printable characters", param, ctx)
        return names


class TimeType(click.ParamType[datetime]):
    """A moment: ISO-8601; without a zone it is UTC."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment with its zone."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no ISO-8601 time such as 2013-10-07T14:30:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(slots=True)
class Selection:
    """Which rows: of these symbols (none named: all), on bars that start at or after `start` and before `end`.

    last: of each symbol only so many, the latest; None: all.
    """

    symbols: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    last: int | None = None
    _seen: set[str] = field(default_factory=set)

    def values(self) -> dict[str, Any]:
        """Return what the queries bind."""
        return {"symbols": list(self.symbols) or None, "from": self.start, "to": self.end}

    def chosen(
        self, rows: Iterable[tuple[Any, ...]], *, each: Callable[[tuple[Any, ...]], Hashable] = itemgetter(0)
    ) -> Iterator[tuple[Any, ...]]:
        """Pass on the rows that are asked for, and note the symbols, which stand first in them.

        rows: in order; those of which `last` are wanted, told by `each`, one after another.
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
        """Say which symbols had no rows. Raises NothingFound where there was no row at all."""
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
        return f": symbols are told apart by case; --symbol {','.join(map(str.upper, lower))}?" if lower else ""


def selection_options(command: F) -> F:
    """Add --symbol, --from, --to and --last; the command gets them as `chosen`, a Selection."""

    @click.option("--symbol", "symbols", type=NamesType(), default=None, show_default="all", help="Only these symbols.")
    @click.option("--from", "start", type=TimeType(), help="Only bars that start at or after this time (UTC).")
    @click.option("--to", "end", type=TimeType(), help="Only bars that start before this time (UTC).")
    @click.option("--last", type=click.IntRange(1), help="Only the last so many of each symbol.")
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
    """Make a decorator that adds --timeframe; None is the default of a command that shows all of them."""
    return click.option(
        "--timeframe",
        type=click.Choice(list(INTRADAY)),
        default=default,
        show_default=default or "all",
        help="Length of the bars.",
    )


def as_moment(at: datetime, form: str = MOMENT["table"]) -> str:
    """Write a time as UTC."""
    return at.astimezone(UTC).strftime(form)
