"""The steps of each phase: compute outside a transaction, and return a function that writes inside one."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import numpy as np

from ...contracts.detection import Detection, Event, IndicatorValue
from ...contracts.messages.message import Message
from ...contracts.messages.processing_events import IndicatorCalculated
from ...contracts.messages.processing_messages import indicator_calculated
from ...contracts.runs import Step, StepResult
from ...contracts.timeframe import LONGER
from ...contracts.universe import EVERY_SYMBOL
from ...db.postgres import Connection
from ...db.sessions import always_open_symbols
from ...db.tables import daily_bars, daily_found
from ...db.tables.daily_found import Scope, first_minute
from ...db.tables.detections import log_published
from ...db.tables.run_results import add_detections, add_messages
from ...db.tables.runs import PinnedRun, market_closures
from ..windows import WINDOW
from .bars import Bars, Ends, Split, adjusted, ends_on
from .detecting import find_indicators, find_patterns
from .market_days import BarEnd, Closures, Session, bars_ending, sessions_of_run, start_of, whole_day
from .pinned import Pinned, Wanted, wanted_of

Write = Callable[[Connection], StepResult]  # in the step's transaction
NO_BARS = "no bars of that day"


class StepWork(NamedTuple):
    """A step, its run, and the run's days. now_s: Unix seconds."""

    run: PinnedRun
    step: Step
    sessions: Sequence[Session]
    closures: Closures
    now_s: float


def prepare(connection: Connection, run: PinnedRun, step: Step, now_s: float) -> Write:
    """Compute the rows of a step. Raises LookupError for a phase without steps."""
    closures = market_closures(connection)
    wanted = run.parameters
    sessions = sessions_of_run(
        run.run_date, wanted.lookback_days, skip_market_check=wanted.skip_market_check, closures=closures
    )
    return _PREPARE[step.key.phase](connection, StepWork(run, step, sessions, closures, now_s))


# -- import ------------------------------------------------------------------------------------------------------------


def _prepare_import(connection: Connection, work: StepWork) -> Write:
    always_open = always_open_symbols(connection)
    symbols, sessions = work.step.symbols, work.sessions

    def write(connection: Connection) -> StepResult:
        wanted = [
            (symbol, *(whole_day(session) if {symbol, EVERY_SYMBOL} & always_open else session))
            for symbol in symbols
            for session in sessions
        ]
        changed = daily_bars.import_own_days(connection, wanted)
        weeks, months = (
            sorted({start_of(timeframe, session.day) for session in sessions}) for timeframe in ("weekly", "monthly")
        )
        changed += daily_bars.make_weeks_and_months(connection, symbols, weeks=weeks, months=months)
        there = daily_bars.count_days(connection, symbols, [session.day for session in sessions])
        missing = {symbol: NO_BARS for symbol in symbols if symbol not in there}
        return StepResult(sum(there.values()), changed, missing)

    return write


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

    def write(connection: Connection) -> StepResult:
        replaced = daily_found.replace_patterns(connection, found.scope, detections)
        newest = max(found.scope.ends, default=0)
        told = [one for place in replaced.new if _is_told(one := detections[place], newest)]
        log_published(connection, told)
        add_detections(connection, told)
        return StepResult(len(detections), replaced.changed, {})

    return write


def _is_told(detection: Detection, newest: int) -> bool:
    """Tell whether to publish a detection: an event of its own, on the newest bar."""
    return detection.event is Event.FIRST and detection.minute == newest


class _Loaded(NamedTuple):
    bars: Bars
    ends: Ends
    scope: Scope


def _load(connection: Connection, work: StepWork) -> _Loaded:
    """Load the bars of a step, in the unit of its newest day, and select those to run detectors on."""
    timeframe, symbols = work.step.key.timeframe, work.step.symbols
    ends = bars_ending(timeframe, work.sessions, work.closures)
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
    "import": _prepare_import,
    "indicators": _prepare_indicators,
    "patterns": _prepare_patterns,
}
_OF_A_TIMEFRAME = ("indicators", "patterns")


def timeframes_of(phase: str, wanted: Sequence[str] | None) -> list[str]:
    """Return the timeframes for a phase's steps: "" if a step does all of them; none for other phases."""
    if phase == "import":
        return [""]
    return [timeframe for timeframe in wanted or LONGER if timeframe in LONGER] if phase in _OF_A_TIMEFRAME else []
