"""Where a run's bars of days and reference data may come from: handed in, for the vendor's client is no part of us."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple, Protocol

from ...contracts.daily.day_bars import DayBars, DaySource
from ...contracts.daily.reference import Closure, Listing, SplitsSaid, Ticker
from ...contracts.errors import RestAway, RestBroken, RestRefused, TickStockError
from ...contracts.runs import Source

VENDOR_ERRORS = (RestAway, RestRefused, RestBroken)
NO_SOURCE = "no source of bars of days is set up in this process"
NOTHING = "no source has a bar of that day"


class Reference(Protocol):
    """What a vendor knows beside prices. Its methods raise VENDOR_ERRORS and RestStopped."""

    def splits(self, first: date, last: date) -> SplitsSaid:
        """Return the splits whose ex-dates lie from first to last."""

    def tickers(self, *, active: bool) -> Iterator[Ticker]:
        """Return the symbols that are listed, or that were."""

    def listings(self, first: date, last: date) -> list[Listing]:
        """Return the companies whose first day lies from first to last."""

    def market_cap(self, symbol: str) -> float | None:
        """Return what a company is worth, in dollars."""

    def closures(self) -> list[Closure]:
        """Return the coming days on which the market is closed, or closes early."""


class Sources(NamedTuple):
    """What a process may ask. days: by its name; delay_s: how far the vendor's data is behind the market.

    reference: None: there is no key. market_caps: how many symbols a run may ask for what they are worth.
    csv_dir: the folder of the files of symbols that a data load may name.
    """

    days: Mapping[Source, DaySource]
    reference: Reference | None = None
    delay_s: float = 0.0
    market_caps: int = 0
    csv_dir: Path | None = None


NO_SOURCES = Sources({})


class Answer(NamedTuple):
    """What came of asking for one day. source: None: nobody had it. errors: what went wrong, by source."""

    bars: DayBars | None
    source: Source | None
    errors: Mapping[Source, TickStockError]

    @property
    def error(self) -> str | None:
        """Return why there are no bars; None where there are some."""
        if self.bars is not None:
            return None
        return "; ".join(f"{source}: {error}" for source, error in self.errors.items()) or NOTHING


def ask_for_day(sources: Sources, order: Sequence[Source], day: date, symbols: Sequence[str]) -> Answer:
    """Ask the sources in their order for the market's day, until one has bars of it. Raises RestStopped."""
    errors: dict[Source, TickStockError] = {}
    for name in order:
        try:
            bars = sources.days[name]([day], symbols)
        except VENDOR_ERRORS as e:
            errors[name] = e
            continue
        if bars.symbols or bars.refused:
            return Answer(bars, name, errors)
    return Answer(None, None, errors)


class SymbolAnswers(NamedTuple):
    """What came of asking for single symbols. failed: why nothing of one; error: why no other was asked for."""

    bars: Sequence[DayBars] = ()
    failed: Mapping[str, str] = {}
    error: TickStockError | None = None


def ask_for_symbols(source: DaySource, holes: Mapping[str, Sequence[date]]) -> SymbolAnswers:
    """Ask for single symbols. Raises RestStopped.

    After one that the vendor refuses to answer, or does not answer, no other is asked for.
    """
    found: list[DayBars] = []
    failed: dict[str, str] = {}
    fatal: TickStockError | None = None
    for symbol, days in holes.items():
        try:
            if fatal is None:
                found.append(source(days, [symbol]))
        except RestBroken as e:
            failed[symbol] = str(e)
        except (RestAway, RestRefused) as e:
            fatal = e
        if fatal is not None:
            failed[symbol] = str(fatal)
    return SymbolAnswers(found, failed, fatal)


def order_of(sources: Sources, *, is_recent: bool) -> list[Source]:
    """Return which sources of whole days to ask, the first first: of long ago a file costs no request."""
    order: tuple[Source, ...] = ("grouped", "flat") if is_recent else ("flat", "grouped")
    return [name for name in order if name in sources.days]
