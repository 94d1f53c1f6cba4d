"""Ticks to patterns, for a caller that has its own loop and wants no fleet; nothing is stored or published.

with LivePatternDetector({"patterns": ["Doji"], "timeframes": ["1min"]}) as detector:
    for detection in detector.analyze_tick(tick): ...
"""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import msgspec
import numpy as np

from .contracts.bar import MINUTE_NS, has_prices
from .contracts.detection import Detection, flow_id_of, iso_minute
from .contracts.errors import UsageError
from .contracts.messages.pattern_messages import pattern_messages
from .contracts.spellings.tick_json import DEFAULT_SECOND_STAMP, SecondStamp
from .contracts.spellings.trade_conditions import DEFAULT_RULES, TRADE_RULES
from .contracts.ticks import Column
from .contracts.timeframe import HIGHER, INTRADAY
from .contracts.universe import EVERY_SYMBOL
from .workers.detect.definition import Definitions, PatternDefinition
from .workers.detect.definitions import default_definitions, pattern_definition
from .workers.detect.detector import COMPLETE, Detector
from .workers.detect.find_patterns import find_patterns
from .workers.history import CLOSED_DTYPE
from .workers.library.minute_book import MinuteBook
from .workers.marks import AFFECTED, NO_MARKS, higher_marks, joined
from .workers.partition.bar_book import NO_BARS, merge
from .workers.partition.tick_check import REVISION_WINDOW_NS, Limits

_REVISION_MINUTES = REVISION_WINDOW_NS // MINUTE_NS  # the fleet also applies ticks up to this late
_TOLD_MINUTES = _REVISION_MINUTES + 2 * max(HIGHER)  # a late tick makes no detection older than this again
_KEYS = ("patterns", "timeframes")

Found = dict[str, Any]


class LivePatternDetector:
    """Finds patterns on the bars of its caller's ticks; for one thread.

    A minute closes when the symbol's next minute begins; a longer bar closes when a minute after its end begins. A
    tick up to 15 minutes late changes its bar: patterns that it adds are returned, once; patterns that it removes are
    not reported. Histories begin with the first tick.

    config: `patterns`: names, or {name: {"threshold": 0..1, "parameters": {...}}}; `timeframes`: names. Missing keys,
    or None, mean the default. Patterns are searched on bars of the regular hours; with the parameter `session`
    `extended` on all bars. second_stamp, trade_rules: as for LiveOHLCVWriter. always_open: the market never closes, so
    that each bar is a regular one. Raises UsageError for a wrong configuration.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        second_stamp: SecondStamp = DEFAULT_SECOND_STAMP,
        trade_rules: TRADE_RULES = DEFAULT_RULES,
        always_open: bool = False,
    ) -> None:
        self.definitions = _definitions(config or {})
        self._book = MinuteBook(
            Limits(), second_stamp=second_stamp, rules=trade_rules, revision_minutes=_REVISION_MINUTES
        )
        self._detector = Detector(self._book.symbols, loads=False)
        self._detector.take_wanted(self.definitions.tracks())
        self._detector.take_always_open(frozenset({EVERY_SYMBOL} if always_open else ()))
        self._recent: dict[int, Column] = {}  # bars that a late tick may still change, by symbol
        self._told: dict[str, dict[UUID, int]] = {}  # flow_id -> minute, by symbol
        self._waiting = NO_MARKS  # open bars of higher timeframes

    def analyze_tick(self, tick: object) -> list[Found]:
        """Take one tick; return the patterns on the bars that it closes, usually none.

        tick: a mapping in any of the documented spellings, or an object with such attributes. A detection is a
        dictionary with the keys of `data` in `tickstock.events.patterns`, its timeframe and the bar's start. Raises
        NotATick (a TickStockError, with `reason` and `detail`) if it is not a valid tick; nothing changes then.
        """
        closed = self._book.add(tick, time.time_ns())
        return self._find(closed, past=0) if len(closed) else []

    def flush(self) -> list[Found]:
        """Close every open minute, and each longer bar that ends with it; return the patterns found on them."""
        return self._find(self._book.close_all(), past=1)

    def close(self) -> list[Found]:
        """Close every open bar; return the patterns found on them. The end of a `with` closes without a result."""
        return self._find(self._book.close_all(), past=max(HIGHER))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _find(self, closed: Column, *, past: int) -> list[Found]:
        """Detect on closed bars. past: a symbol's current time, in minutes after the start of its newest bar."""
        parts = [self._merged(code, closed[closed["symbol"] == code]) for code in np.unique(closed["symbol"]).tolist()]
        bars = np.concatenate([NO_BARS, *(bars for bars, _ in parts)])[list(CLOSED_DTYPE.names or ())]
        revised = np.concatenate([np.zeros(0, bool), *(again for _, again in parts)])
        for code in np.unique(bars["symbol"]).tolist():
            self._detector.set_reach(code, COMPLETE)  # a new symbol's history begins here
        marks = self._detector.absorb(bars.astype(CLOSED_DTYPE), revised, publish=True)
        waiting = joined([self._waiting, higher_marks(marks[marks["kind"] != AFFECTED])])
        newest = np.array(self._book.newest, np.int64)[waiting["symbol"]]
        due = waiting["minute"] + waiting["timeframe"] <= newest + past
        self._waiting = waiting[~due]
        _, higher = self._detector.absorb_higher(waiting[due])
        (found,) = find_patterns([(self._detector, joined([marks, higher]))], self.definitions, time.time())
        told = [detection for detection, is_told in zip(*found, strict=True) if is_told]
        return [_data(detection) for detection in told if self._is_news(detection)]

    def _merged(self, code: int, mine: Column) -> tuple[Column, Column]:
        """Merge a symbol's closed bars with earlier bars of the same minutes; return bars, and which were merged."""
        kept = self._recent.get(code, NO_BARS)
        bars = merge(np.concatenate((kept, mine)))
        self._recent[code] = bars[bars["minute"] >= self._book.newest[code] - _REVISION_MINUTES]
        # A minute whose trades set no price is not a bar: a late trade may make it one.
        bars = bars[np.isin(bars["minute"], mine["minute"]) & has_prices(bars)]
        return bars, np.isin(bars["minute"], kept["minute"][has_prices(kept)])

    def _is_news(self, detection: Detection) -> bool:
        told = self._told.setdefault(detection.symbol, {})
        if detection.flow_id in told:
            return False
        oldest = detection.minute - _TOLD_MINUTES
        told = {flow_id: minute for flow_id, minute in told.items() if minute >= oldest}
        names = [detection.pattern, *(part.pattern for part in detection.parts)]
        bar = (detection.timeframe, detection.minute)
        self._told[detection.symbol] = told | {flow_id_of(detection.symbol, n, *bar): bar[1] for n in names}
        return True


def _data(detection: Detection) -> Found:
    (_, body), *_ = pattern_messages(detection, session_id="", result_id=None)
    data: Found = msgspec.json.decode(body)["data"]
    return data | {"timeframe": detection.timeframe, "bar_start": iso_minute(detection.minute)}


def _definitions(config: Mapping[str, Any]) -> Definitions:
    if not isinstance(config, Mapping):
        raise UsageError("config is not a mapping")
    if unknown := [str(key) for key in config if key not in _KEYS]:
        raise UsageError(f"config has {unknown[0]}: {' and '.join(_KEYS)} are known")
    wanted, timeframes = config.get("patterns"), config.get("timeframes")
    for key, value in config.items():
        if isinstance(value, str):
            raise UsageError(f"{key} is the text {value!r}: a list of names is needed")
    if wanted is None:
        wanted = [definition.kind.name for definition in default_definitions().patterns]
    rows = wanted.items() if isinstance(wanted, Mapping) else ((name, {}) for name in wanted)
    return Definitions([_definition(name, row or {}, timeframes) for name, row in rows])


def _definition(name: str, row: Mapping[str, Any], timeframes: Sequence[str] | None) -> PatternDefinition:
    if unknown := sorted(row.keys() - {"threshold", "parameters"}):
        raise UsageError(f"pattern {name} has {unknown[0]}: a pattern has only threshold and parameters")
    if longer := [timeframe for timeframe in timeframes or () if timeframe not in INTRADAY]:
        raise UsageError(f"unknown timeframe {longer[0]}; there are: {', '.join(INTRADAY)}")
    try:
        return pattern_definition(name, row.get("threshold"), list(timeframes or INTRADAY), row.get("parameters"))
    except (TypeError, ValueError) as e:
        raise UsageError(f"pattern {name}: {e}") from e
