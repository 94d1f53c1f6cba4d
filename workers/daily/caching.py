"""The steps of cache_sync: fetch symbols and closed days from the vendor, and compute the universes from them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from ...contracts.daily.reference import Closure, Listing, Ticker
from ...contracts.daily.universe_rules import IPO_DAYS, THEMES, MadeUniverse, universes_of
from ...contracts.errors import RestAway, RestBroken, RestRefused
from ...contracts.market_hours import NEW_YORK, hours_of
from ...contracts.messages.processing_events import CacheMode
from ...contracts.runs import StepResult
from ...contracts.universe import UniverseEntry
from ...db.postgres import Connection
from ...db.tables import symbols as symbols_table
from ...db.tables.run_results import add_messages
from ...db.tables.run_steps import Question, answers_of
from ...db.tables.universe import list_universes, write_universe
from .run_errors import source_failed
from .sources import VENDOR_ERRORS, Reference
from .step_work import StepWork, Write

log = structlog.get_logger()

NO_KEY = "no API key: symbols and universes stay as they are"
UNIVERSES = "universes"  # the last question of a mode; its answer comes from our own tables
_TOLD = 100  # symbols that the message of a change names, at most
_LARGEST_CAP = 9e18  # the largest bigint is 9.2e18
_STAGES = {"tickers": 0, "closures": 0, "market_caps": 1, "listings": 1, UNIVERSES: 2}
_OF_MODE: Mapping[CacheMode, tuple[str, ...]] = {
    "full": ("tickers", "closures", "market_caps", "listings", UNIVERSES),
    "market_cap": ("market_caps", UNIVERSES),
    "themes": ("tickers", UNIVERSES),
    "ipos": ("listings", UNIVERSES),
}


def questions_of(mode: CacheMode) -> list[Question]:
    """Return the questions of a mode, each with its stage."""
    return [Question(what, _STAGES[what]) for what in _OF_MODE[mode]]


def prepare_cache_sync(connection: Connection, work: StepWork) -> Write:
    """Prepare a step of cache_sync. If the vendor does not answer, the step publishes that and changes nothing."""
    reference, what = work.sources.reference, work.step.key.timeframe
    if what == UNIVERSES:
        return _prepare_universes(connection, work)
    if reference is None:
        return lambda _: StepResult(0, 0, {}, {"error": NO_KEY})
    try:
        return _QUESTIONS[what](connection, work, reference)
    except VENDOR_ERRORS as e:
        return _failed(e, what, work)


def _failed(failure: RestAway | RestRefused | RestBroken, what: str, work: StepWork) -> Write:
    log.warning("vendor has no answer", asked=what, why=str(failure))
    said = source_failed(
        failure, now_s=work.now_s, run_id=work.run_id, phase="cache_sync", source="reference", asked=what
    )

    def write(connection: Connection) -> StepResult:
        add_messages(connection, [said])
        return StepResult(0, 0, {}, {"error": str(failure)})

    return write


# -- questions ---------------------------------------------------------------------------------------------------------


def _prepare_tickers(_: Connection, work: StepWork, reference: Reference) -> Write:
    listed = {one.symbol: one for one in work.ask(lambda: list(reference.tickers(active=True)))}
    gone = {one.symbol for one in work.ask(lambda: list(reference.tickers(active=False)))} - listed.keys()
    rows = [_row_of(ticker) for ticker in listed.values()]

    def write(connection: Connection) -> StepResult:
        changed = symbols_table.update_symbols(connection, rows)
        delisted = symbols_table.mark_delisted(connection, sorted(gone))
        return StepResult(0, changed + delisted, {}, {"listed": len(rows), "delisted": delisted})

    return write


def _row_of(ticker: Ticker) -> dict[str, Any]:
    return ticker._asdict() | {"exchange": ticker.primary_exchange}


def _prepare_closures(_: Connection, work: StepWork, reference: Reference) -> Write:
    unknown = [one for one in work.ask(reference.closures) if _is_unknown(one)]

    def write(connection: Connection) -> StepResult:
        return StepResult(0, symbols_table.add_closures(connection, unknown), {}, {"closures": len(unknown)})

    return write


def _is_unknown(closure: Closure) -> bool:
    """Tell whether the calendar has other hours on that day."""
    hours = hours_of(closure.day)
    if hours is None or closure.closes_at is None:
        return hours is not None
    return hours.closes != datetime.combine(closure.day, closure.closes_at, NEW_YORK)


def _prepare_market_caps(connection: Connection, work: StepWork, reference: Reference) -> Write:
    wanted = symbols_table.symbols_to_value(connection, work.run.symbols, work.sources.market_caps)
    said = work.ask(lambda: {symbol: reference.market_cap(symbol) for symbol in wanted})
    at = datetime.fromtimestamp(work.now_s, UTC).isoformat()
    rows = [
        {"symbol": symbol, "market_cap": None if cap is None else round(cap), "last_updated_utc": at}
        for symbol, cap in said.items()
        if cap is None or 0 <= cap < _LARGEST_CAP
    ]

    def write(connection: Connection) -> StepResult:
        return StepResult(0, symbols_table.update_symbols(connection, rows), {}, {"market_caps": len(rows)})

    return write


def _prepare_listings(_: Connection, work: StepWork, reference: Reference) -> Write:
    today = work.sessions[-1].day
    new: list[Listing] = work.ask(lambda: reference.listings(today - timedelta(days=IPO_DAYS), today))

    def write(_: Connection) -> StepResult:
        return StepResult(0, 0, {}, {"new": [one.symbol for one in new]})

    return write


_QUESTIONS: Mapping[str, Callable[[Connection, StepWork, Reference], Write]] = {
    "tickers": _prepare_tickers,
    "closures": _prepare_closures,
    "market_caps": _prepare_market_caps,
    "listings": _prepare_listings,
}


# -- universes ---------------------------------------------------------------------------------------------------------


def _prepare_universes(connection: Connection, work: StepWork) -> Write:
    listings = answers_of(connection, work.step.key.run_id, "cache_sync").get("listings", {})
    members = symbols_table.members_of_market(connection)
    themes = {one.entry: one.symbols for one in list_universes(connection) if one.entry.name == THEMES}
    made = universes_of(work.run.parameters.cache_mode, members, new=listings.get("new"), themes=themes)

    def write(connection: Connection) -> StepResult:
        there = {one.entry: one.symbols for one in list_universes(connection)}
        changes = {str(one.entry): change for one in made if (change := _write(connection, one, there))}
        for entry, change in changes.items():
            log.info("universe changed", universe=entry, added=len(change["added"]), removed=len(change["removed"]))
        counts = {kind: sum(len(change[kind]) for change in changes.values()) for kind in ("added", "removed")}
        told = {entry: {kind: names[:_TOLD] for kind, names in change.items()} for entry, change in changes.items()}
        return StepResult(len(changes), len(changes), {}, {**counts, "universes": told})

    return write


def _write(
    connection: Connection, made: MadeUniverse, there: Mapping[UniverseEntry, list[str]]
) -> dict[str, list[str]] | None:
    """Write a universe as its rule makes it; return the added and removed symbols, None if it is unchanged."""
    former = there.get(made.entry, [])
    if former == made.symbols:
        return None
    write_universe(connection, made.entry, made.symbols, kind=made.kind)
    return {"added": sorted(set(made.symbols) - set(former)), "removed": sorted(set(former) - set(made.symbols))}
