"""The sources of a run's daily bars and reference data. They are arguments: workers do not import a vendor's client."""

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
    """A vendor's reference data: everything but prices. Its methods raise VENDOR_ERRORS and RestStopped."""

    def splits(self, first: date, last: date) -> SplitsSaid:
        """Return the splits with an ex-date from `first` to `last`."""

    def tickers(self, *, active: bool) -> Iterator[Ticker]:
        """Return the symbols that are listed; active False: those that were delisted."""

    def listings(self, first: date, last: date) -> list[Listing]:
        """Return the companies whose first trading day is from `first` to `last`."""

    def market_cap(self, symbol: str) -> float | None:
        """Return a company's market capitalisation in dollars; None: unknown."""

    def closures(self) -> list[Closure]:
        """Return the coming days on which the market is closed or closes early."""


class Sources(NamedTuple):
    """The sources of a process. days: the sources of daily bars, by name. delay_s: the delay of the vendor's data.

    reference: None without an API key. market_caps: of how many symbols one run may ask the market
    capitalisation. csv_dir: the folder with the files of symbols that a data load may name.
    """

    days: Mapping[Source, DaySource]
    reference: Reference | None = None
    delay_s: float = 0.0
    market_caps: int = 0
    csv_dir: Path | None = None


NO_SOURCES = Sources({})


class Answer(NamedTuple):
    """The bars of one day. source: where they come from; None: no source has them. errors: source -> its error."""

    bars: DayBars | None
    source: Source | None
    errors: Mapping[Source, TickStockError]

    @property
    def error(self) -> str | None:
        """Return why there are no bars; None if there are bars."""
        if self.bars is not None:
            return None
        return "; ".join(f"{source}: {error}" for source, error in self.errors.items()) or NOTHING


def ask_for_day(sources: Sources, order: Sequence[Source], day: date, symbols: Sequence[str]) -> Answer:
    """Ask the sources in this order for a day's bars, until one has some. Raises RestStopped."""
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
    """The bars of single symbols. failed: symbol -> why it has no bars. error: why the asking ended early, or None."""

    bars: Sequence[DayBars] = ()
    failed: Mapping[str, str] = {}
    error: TickStockError | None = None


def ask_for_symbols(source: DaySource, holes: Mapping[str, Sequence[date]]) -> SymbolAnswers:
    """Ask for each symbol alone. Raises RestStopped.

    If the vendor is away or refuses the key, no further symbol is asked for.
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
    """Return the sources of whole days in the order to ask them. For old days files come first: they cost no quota."""
    order: tuple[Source, ...] = ("grouped", "flat") if is_recent else ("flat", "grouped")
    return [name for name in order if name in sources.days]
