"""The steps of each phase: compute outside a transaction, and return a function that writes inside one."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import numpy as np

from ...contracts.daily.trading_days import session_on
from ...contracts.detection import Detection, Event, IndicatorValue
from ...contracts.messages.message import Message
from ...contracts.messages.processing_events import IndicatorCalculated
from ...contracts.messages.processing_messages import indicator_calculated
from ...contracts.runs import Step, StepResult
from ...contracts.timeframe import LONGER
from ...db.postgres import Connection
from ...db.sessions import market_closures
from ...db.tables import daily_bars, daily_found
from ...db.tables.daily_found import Scope, first_minute
from ...db.tables.detections import log_published
from ...db.tables.run_results import add_detections, add_messages
from ...db.tables.runs import PinnedRun
from ..windows import WINDOW
from .asking import Ask
from .bars import Bars, Ends, Split, adjusted, ends_on
from .caching import prepare_cache_sync
from .combos import combos_of
from .detecting import find_indicators, find_patterns
from .importing import prepare_import
from .market_days import BarEnd, bars_ending, sessions_of_run
from .pinned import Pinned, Wanted, wanted_of
from .sources import Sources
from .step_work import StepWork, Write


def prepare(connection: Connection, run: PinnedRun, step: Step, now_s: float, *, sources: Sources, ask: Ask) -> Write:
    """Compute the rows of a step. Raises LookupError for a phase without steps, and the errors of `ask`."""
    closures = market_closures(connection)
    wanted = run.parameters
    sessions = sessions_of_run(
        run.run_date, wanted.lookback_days, skip_market_check=wanted.skip_market_check, closures=closures
    )
    again = [session for day in run.days_again if (session := session_on(day, closures))]
    work = StepWork(run, step, [*again, *sessions], closures, now_s, sources, ask)
    return _PREPARE[step.key.phase](connection, work)


# -- indicators and patterns -------------------------------------------------------------------------------------------


def _prepare_indicators(connection: Connection, work: StepWork) -> Write:
    found = _load(connection, work)
    definitions = _wanted(work).indicators
    values = list(find_indicators(found.bars, found.ends, found.scope.timeframe, definitions, work.now_s))

    def write(connection: Connection) -> StepResult:
        replaced = daily_found.replace_indicators(connection, found.scope, values)
        told = [values[place] for place in replaced.new] if found.scope.timeframe == "daily" else []
        newest = max(found.scope.ends, default=0)
        add_messages(connection, [one for value in told if value.minute == newest for one in _calculated(value, work)])
        return StepResult(len(values), replaced.changed, {})

    return write


def _calculated(value: IndicatorValue, work: StepWork) -> list[Message]:
    calculated = IndicatorCalculated(
        run_id=str(work.step.key.run_id),
        symbol=value.symbol,
        indicator=value.indicator,
        timeframe=value.timeframe,
        value=value.value,
        values=value.values,
        timestamp=datetime.fromtimestamp(value.minute * 60, UTC).isoformat(),
    )
    return indicator_calculated(now_s=work.now_s, calculated=calculated)


def _prepare_patterns(connection: Connection, work: StepWork) -> Write:
    found = _load(connection, work)
    detections = find_patterns(found.bars, found.ends, found.scope.timeframe, _wanted(work).patterns, work.now_s)
    combos = _combos(connection, found.scope, detections, work) if found.scope.timeframe == "daily" else None

    def write(connection: Connection) -> StepResult:
        replaced = daily_found.replace_patterns(connection, found.scope, detections)
        newest = max(found.scope.ends, default=0)
        told = [one for place in replaced.new if _is_told(one := detections[place], newest)]
        changed, rows = replaced.changed, len(detections)
        if combos is not None:
            combined = daily_found.replace_combos(connection, combos.scope, combos.found)
            told += [one for place in combined.new if _is_told(one := combos.found[place].detection, newest)]
            changed, rows = changed + combined.changed, rows + len(combos.found)
        log_published(connection, told)
        add_detections(connection, told)
        return StepResult(rows, changed, {})

    return write


class _Combos(NamedTuple):
    scope: Scope
    found: list[daily_found.Combo]


def _combos(connection: Connection, scope: Scope, detections: Sequence[Detection], work: StepWork) -> _Combos:
    """Find the daily patterns that an intraday pattern of the same session confirms.

    A session without intraday patterns is left out of the scope: they may have been pruned, and its combos stay.
    """
    opens = {session.closes: session.opens for session in work.sessions}
    signals = daily_found.intraday_signals(connection, scope.symbols, list(opens.values()), list(opens))
    known = {signal.closes for signal in signals}
    ends = {minute: closes for minute, closes in scope.ends.items() if closes in known}
    return _Combos(scope._replace(ends=ends), combos_of(detections, signals, scope.ends))


def _is_told(detection: Detection, newest: int) -> bool:
    """Tell whether to publish a detection: it is neither a repeat nor a part of another, and its bar is the newest."""
    return detection.event is Event.FIRST and detection.minute == newest


class _Loaded(NamedTuple):
    bars: Bars
    ends: Ends
    scope: Scope


def _load(connection: Connection, work: StepWork) -> _Loaded:
    """Load a step's bars, adjusted to the unit of the newest day, and select the bars to run detectors on.

    The bar of a session that has not ended is left out: what is found on it would change until the close.
    """
    timeframe, symbols = work.step.key.timeframe, work.step.symbols
    ended = [session for session in work.sessions if session.closes.timestamp() <= work.now_s]
    ends = bars_ending(timeframe, ended, work.closures)
    scope = Scope(timeframe, symbols, {first_minute(end.start): end.closes for end in ends})
    if not ends:
        none = np.zeros(0)
        return _Loaded(
            Bars(symbols, np.zeros(len(symbols) + 1, np.int64), none.astype(np.int64), *[none] * 5),
            Ends(none.astype(np.int64), none.astype(np.int64)),
            scope,
        )
    bars = _columns(connection, timeframe, symbols, ends)
    return _Loaded(bars, ends_on(bars, [end.start for end in ends]), scope)


def _columns(connection: Connection, timeframe: str, symbols: Sequence[str], ends: Sequence[BarEnd]) -> Bars:
    last = ends[-1].start
    rows = daily_bars.load_bars(connection, timeframe, symbols, last=last, bars=WINDOW + len(ends) - 1)
    bounds = np.searchsorted(rows["number"], np.arange(1, len(symbols) + 2))
    values = (rows[name].astype(np.float64) for name in ("open", "high", "low", "close", "volume"))
    opened, high, low, close, volume = values
    bars = Bars(symbols, bounds, rows["day"].astype(np.int64), opened, high, low, close, volume)
    splits = daily_bars.splits_of(connection, symbols, ends[-1].closes.date())
    return adjusted(bars, timeframe, [Split(*row) for row in splits])


def _wanted(work: StepWork) -> Wanted:
    parameters = work.run.parameters
    pinned = msgspec.convert(work.run.definitions, Pinned)
    return wanted_of(pinned, work.step.key.timeframe, patterns=parameters.patterns, indicators=parameters.indicators)


_PREPARE: dict[str, Callable[[Connection, StepWork], Write]] = {
    "import": prepare_import,
    "cache_sync": prepare_cache_sync,
    "indicators": _prepare_indicators,
    "patterns": _prepare_patterns,
}
_OF_A_TIMEFRAME = ("indicators", "patterns")


def timeframes_of(phase: str, wanted: Sequence[str] | None) -> list[str]:
    """Return the timeframes for a phase's steps: [""] if a step does all of them; [] if the phase has no batches."""
    if phase == "import":
        return [""]
    return [timeframe for timeframe in wanted or LONGER if timeframe in LONGER] if phase in _OF_A_TIMEFRAME else []
