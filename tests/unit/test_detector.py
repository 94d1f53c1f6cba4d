"""What the histories of one partition give for marked bars. The whole way: integration/test_detection.py."""

from itertools import pairwise

import numpy as np
import pytest
from tickstockpl.contracts.detection import Event
from tickstockpl.workers.detect.definitions import default_definitions
from tickstockpl.workers.detect.detector import COMPLETE, Detector
from tickstockpl.workers.detect.find_indicators import find_indicators
from tickstockpl.workers.detect.find_patterns import find_patterns
from tickstockpl.workers.history import CLOSED_DTYPE
from tickstockpl.workers.marks import AFFECTED, INDICATORS, MARK_DTYPE, NEW, NEW_REDETECT, REVISED
from tickstockpl.workers.sessions import REGULAR_MINUTES

MINUTE = 23_019_210  # 2013-10-07 13:30 UTC


def detector_with(closes):
    """Make a detector that has bars of one symbol, A, with these closes."""
    bars = np.zeros(len(closes), CLOSED_DTYPE)
    bars["minute"] = MINUTE + np.arange(len(closes))
    for name in ("open", "high", "low", "close"):
        bars[name] = closes
    bars["volume_micro"], bars["notional"] = 1e8, np.array(closes) * 100
    detector = Detector(["A"])
    detector.set_reach(0, COMPLETE)
    detector.absorb(bars, np.zeros(len(bars), bool), publish=True)
    return detector


@pytest.mark.parametrize(
    ("kind", "alerts", "again"),
    [
        (NEW, ["RSI_OVERBOUGHT"], False),
        (NEW_REDETECT, ["RSI_OVERBOUGHT"], False),
        (REVISED, [], True),
        (AFFECTED, [], True),
    ],
)
def test_what_crosses_on_a_bar_is_told_with_its_first_indicators_and_only_then(kind, alerts, again):
    detector = detector_with([100.0, 100.5] * 10 + [100.0, 106.0])  # an RSI of 49, then one of 74
    mark = np.array([(0, 1, MINUTE + 21, kind, INDICATORS, True)], MARK_DTYPE)
    (found,) = find_indicators([(detector, mark)], default_definitions(), 0.0)
    assert [alert.alert_type for alert in found.alerts] == alerts
    assert {one for column in found.columns for one in column.again} == {again}


@pytest.mark.parametrize(("at", "stays"), [(20, False), (29, False), (30, True), (40, True)])
def test_a_bar_within_the_reach_of_a_part_of_a_history_drops_the_part(at, stays):
    detector = detector_with([100.0] * 40)
    detector.set_reach(0, MINUTE + 29)  # as after a load of the first bars of many
    bar = np.zeros(1, CLOSED_DTYPE)
    bar["minute"], bar["close"] = MINUTE + at, 101.0
    detector.absorb(bar, np.ones(1, bool), publish=True)
    earlier = np.array([(0, 1, MINUTE + 25, NEW, INDICATORS, True)], MARK_DTYPE)
    assert detector.covers(earlier).tolist() == [stays]


def quiet_with_jumps(jumps, minutes=45):
    """Make bars of 20 cents and 1,000 shares; a jump in them goes up by a dollar, with 100,000 shares."""
    bars = np.zeros(minutes, CLOSED_DTYPE)
    bars["minute"] = MINUTE + np.arange(minutes)
    close = 50.0 + np.cumsum([1.0 if n in jumps else 0.0 for n in range(minutes)])
    opened = np.concatenate([close[:1], close[:-1]])
    bars["open"], bars["close"] = opened, close
    bars["high"], bars["low"] = np.maximum(opened, close) + 0.1, np.minimum(opened, close) - 0.1
    bars["volume_micro"] = np.where(np.isin(np.arange(minutes), jumps), 1e11, 1e9)
    return bars


def found_on(bars, cuts=()):
    """Absorb bars in parts, each found on by itself; return {bar: [(pattern, event, repeat_after, is told)]}."""
    detector, found = Detector(["A"]), {}
    detector.set_reach(0, COMPLETE)
    for begin, end in pairwise([0, *cuts, len(bars)]):
        part = bars[begin:end]
        marks = detector.absorb(part, np.zeros(len(part), bool), publish=True)
        detections, told = find_patterns([(detector, marks)], default_definitions(), 0.0)[0]
        for one, is_told in zip(detections, told, strict=True):
            found.setdefault(one.minute - MINUTE, []).append((one.pattern, one.event, one.repeat_after, is_told))
    return {bar: sorted(of) for bar, of in found.items()}


EXPECTED = {
    25: [("Price_Breakout", Event.FIRST, 0, True), ("Volume_Spike", Event.PART, 0, False)],
    29: [("Price_Breakout", Event.REPEAT, 4, False)],
    38: [("Price_Breakout", Event.REPEAT, 9, False)],
}


@pytest.mark.parametrize("cuts", [(), (26,), (27, 29, 30, 38), tuple(range(1, 45))], ids=len)
def test_an_event_is_the_same_however_its_bars_were_committed(cuts):
    assert found_on(quiet_with_jumps([25, 29, 38]), cuts) == EXPECTED


def test_a_worker_that_loads_the_bars_finds_the_event_that_another_one_told():
    bars = quiet_with_jumps([25, 29, 38])
    detector = Detector(["A"])
    detector.set_reach(0, COMPLETE)
    detector.histories[REGULAR_MINUTES].load(0, bars[:29])
    marks = detector.absorb(bars[29:30], np.zeros(1, bool), publish=True)
    ((one,), told) = find_patterns([(detector, marks)], default_definitions(), 0.0)[0]
    assert (one.event, one.repeat_after, told) == (Event.REPEAT, 4, [False])
