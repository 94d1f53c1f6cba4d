"""The signals of a backtest are those that a live worker publishes, in whatever parts the bars come."""

from datetime import date
from random import Random

import numpy as np
import pytest
from tickstockpl.contracts.detection import Event
from tickstockpl.contracts.errors import StepUnwanted
from tickstockpl.workers.backtest import lookahead
from tickstockpl.workers.backtest.backtest import Loaded
from tickstockpl.workers.backtest.find_signals import Found, Minutes, find_on_minutes
from tickstockpl.workers.backtest.market import Signals
from tickstockpl.workers.backtest.report import Request
from tickstockpl.workers.backtest.rules import Rules
from tickstockpl.workers.daily.bars import Bars, Ends
from tickstockpl.workers.daily.detecting import find_patterns
from tickstockpl.workers.detect.definition import Definitions
from tickstockpl.workers.detect.definitions import default_definitions
from tickstockpl.workers.detect.detector import COMPLETE, Detector
from tickstockpl.workers.detect.find_patterns import find_patterns as find_live
from tickstockpl.workers.history import CLOSED_DTYPE
from tickstockpl.workers.marks import AFFECTED, higher_marks
from tickstockpl.workers.sessions import in_regular_hours

OPENS = int(np.datetime64("2025-11-17T14:30", "m").astype(int))  # 09:30 in New York
PATTERNS = default_definitions().patterns


def restless(symbols, days, seed):
    """Make minutes of some symbols and days, a few before the opening, with jumps that patterns are found on."""
    random, parts = np.random.default_rng(seed), []
    for symbol in range(symbols):
        minutes = np.concatenate([OPENS + day * 1440 + np.arange(-20, 390) for day in range(days)])
        minutes = minutes[random.random(len(minutes)) < 0.9]
        bars = np.zeros(len(minutes), CLOSED_DTYPE)
        close = 50 * np.exp(np.cumsum(random.standard_t(3, len(minutes)) * 0.0008))
        opened = close * np.exp(random.normal(0, 0.0006, len(minutes)))
        bars["symbol"], bars["minute"], bars["open"], bars["close"] = symbol, minutes, opened, close
        bars["high"] = np.maximum(opened, close) * (1 + np.abs(random.normal(0, 0.0006, len(minutes))))
        bars["low"] = np.minimum(opened, close) * (1 - np.abs(random.normal(0, 0.0006, len(minutes))))
        bars["volume_micro"] = np.rint(1e9 * random.lognormal(0, 1, len(minutes)))
        parts.append(bars)
    return Minutes([f"S{i}" for i in range(symbols)], np.concatenate(parts), {}, frozenset())


def live(minutes, timeframe):
    """Detect as a worker does that gets minute after minute.

    Returns (symbol, pattern, minute, confidence, direction) of what it publishes.
    """
    detector = Detector(minutes.symbols, loads=False)
    definitions = Definitions([one._replace(timeframes=frozenset({timeframe})) for one in PATTERNS])
    detector.take_wanted(definitions.tracks())
    for symbol in range(len(minutes.symbols)):
        detector.set_reach(symbol, COMPLETE)
    found, open_bars = [], {}
    for minute in np.unique(minutes.bars["minute"]).tolist():
        bars = np.sort(minutes.bars[minutes.bars["minute"] == minute], order="symbol")
        if timeframe > 1:
            due = [marks for at, marks in open_bars.items() if at + timeframe <= minute]
            open_bars = {at: marks for at, marks in open_bars.items() if at + timeframe > minute}
            for marks in due:
                _, changed = detector.absorb_higher(marks)
                found += find_live([(detector, changed)], definitions, 0.0)[0].detections
        marks = detector.absorb(bars, np.zeros(len(bars), bool), publish=True)
        if timeframe == 1:
            found += find_live([(detector, marks)], definitions, 0.0)[0].detections
            continue
        mine = higher_marks(marks[marks["kind"] != AFFECTED])
        mine = mine[mine["timeframe"] == timeframe]
        for at in np.unique(mine["minute"]).tolist():
            known = open_bars.get(at, mine[:0])
            open_bars[at] = np.unique(np.concatenate([known, mine[mine["minute"] == at]]))
    for marks in open_bars.values():
        _, changed = detector.absorb_higher(marks)
        found += find_live([(detector, changed)], definitions, 0.0)[0].detections
    return sorted(
        (one.symbol, one.pattern, one.minute, one.confidence, one.direction)
        for one in found
        if one.event is Event.FIRST
    )


@pytest.mark.parametrize("timeframe", [1, 5])
def test_signals_on_minutes_are_those_of_a_live_worker(timeframe):
    minutes = restless(symbols=3, days=2, seed=5)
    # No pattern that asks for the same minute of other days: the worker here has no table to ask.
    patterns = [one for one in PATTERNS if one.kind.confirm is None]
    market, signals = find_on_minutes(minutes, 0, timeframe, patterns)
    owner = market.owner[signals.bar]
    mine = sorted(
        (market.symbols[symbol], name, int(market.time[bar]), confidence, direction)
        for symbol, name, bar, confidence, direction in zip(
            owner.tolist(), signals.pattern, signals.bar.tolist(), signals.confidence.tolist(),
            signals.direction.tolist(), strict=True,
        )
    )  # fmt: skip
    names = {one.kind.name for one in patterns}
    theirs = [one for one in live(minutes, timeframe) if one[1] in names]
    assert len(mine) > 5
    assert mine == theirs
    assert in_regular_hours(market.time, timeframe).all()


def days_of(symbols, count, seed):
    random = np.random.default_rng(seed)
    first = (date(2024, 1, 2) - date(1970, 1, 1)).days
    close = 50 * np.exp(np.cumsum(random.standard_t(3, (symbols, count)) * 0.01, axis=1)).ravel()
    opened = close * np.exp(random.normal(0, 0.008, close.shape))
    high = np.maximum(opened, close) * (1 + np.abs(random.normal(0, 0.006, close.shape)))
    low = np.minimum(opened, close) * (1 - np.abs(random.normal(0, 0.006, close.shape)))
    volume = np.rint(1e6 * random.lognormal(0, 1, close.shape))
    day = np.tile(first + np.arange(count), symbols)
    return Bars(
        [f"S{i}" for i in range(symbols)], np.arange(symbols + 1) * count, day, opened, high, low, close, volume
    )


REQUEST = Request(symbols=("S0", "S1"), patterns=("Hammer",), start="2024-01-02", end="2025-06-01")


def every_tenth(times):
    return times[10::10]


def test_no_trade_of_ours_knows_the_future():
    loaded = [Loaded(days_of(2, 200, seed=3), [])]
    assert [*lookahead.differences(loaded, REQUEST, PATTERNS, every_tenth)] == []
    minutes = restless(symbols=2, days=1, seed=4)
    intraday = Request(symbols=("S0",), patterns=("Doji",), start="2025-11-17", end="2025-11-18", timeframe="1min")
    some = Random(1)
    assert [*lookahead.differences([Loaded(minutes, [])], intraday, PATTERNS, lambda t: some.sample(t, 4))] == []


def test_a_signal_that_knows_the_future_is_seen(monkeypatch):
    def peeks(loaded, request, patterns):
        """Buy each bar that is followed, five bars later, by a higher close."""
        found = honest(loaded, request, patterns)
        market = found.market
        rises = np.flatnonzero(market.close[5:] > market.close[:-5])
        return Found(market, Signals(rises, np.ones(len(rises), int), np.ones(len(rises)), ["Peek"] * len(rises)))

    honest = lookahead.find
    monkeypatch.setattr(lookahead, "find", peeks)
    loaded = [Loaded(days_of(1, 120, seed=3), [])]
    of_a_bar = Rules(max_bars=1)
    request = Request(symbols=("S0",), patterns=("Peek",), start="2024-01-02", end="2025-06-01", rules=of_a_bar)
    assert [*lookahead.differences(loaded, request, PATTERNS, every_tenth)]


def test_signals_on_days_are_those_of_a_daily_run():
    bars = days_of(3, 150, seed=8)
    found = lookahead.find(Loaded(bars, []), REQUEST, PATTERNS)
    ends = Ends(np.repeat(np.arange(3), 150), np.arange(1, 451))
    told = [one for one in find_patterns(bars, ends, "daily", PATTERNS, 0.0) if one.event is Event.FIRST]
    assert sorted((one.symbol, one.pattern, one.minute) for one in told) == sorted(
        (found.market.symbols[found.market.owner[bar]], name, int(found.market.time[bar]))
        for bar, name in zip(found.signals.bar.tolist(), found.signals.pattern, strict=True)
    )


def test_a_search_on_minutes_ends_soon_where_nobody_wants_it_any_more():
    calls = []

    def go_on():
        calls.append(None)
        if len(calls) == 2:
            raise StepUnwanted

    with pytest.raises(StepUnwanted):
        find_on_minutes(restless(1, 2, 14), 0, 5, PATTERNS, go_on)
