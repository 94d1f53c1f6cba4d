"""What the histories of one partition give for marked bars. The whole way: integration/test_detection.py."""

import numpy as np
import pytest
from tickstockpl.workers.definitions import default_definitions
from tickstockpl.workers.detector import WHOLE, Detector
from tickstockpl.workers.marks import HANGING, INDICATORS, MARK_DTYPE, NEW, NEW_AGAIN, REVISED
from tickstockpl.workers.windows import CLOSED_DTYPE

MINUTE = 23_019_210  # 2013-10-07 13:30 UTC


def detector_with(closes):
    """Make a detector that has bars of one symbol, A, with these closes."""
    bars = np.zeros(len(closes), CLOSED_DTYPE)
    bars["minute"] = MINUTE + np.arange(len(closes))
    for name in ("open", "high", "low", "close"):
        bars[name] = closes
    bars["volume_micro"], bars["notional"] = 1e8, np.array(closes) * 100
    detector = Detector(["A"])
    detector.set_reach(0, WHOLE)
    detector.absorb(bars, np.zeros(len(bars), bool), publish=True)
    return detector


@pytest.mark.parametrize(
    ("kind", "alerts", "again"),
    [
        (NEW, ["RSI_OVERBOUGHT"], False),
        (NEW_AGAIN, ["RSI_OVERBOUGHT"], False),
        (REVISED, [], True),
        (HANGING, [], True),
    ],
)
def test_what_crosses_on_a_bar_is_told_with_its_first_indicators_and_only_then(kind, alerts, again):
    detector = detector_with([100.0, 100.5] * 10 + [100.0, 106.0])  # an RSI of 49, then one of 74
    mark = np.array([(0, 1, MINUTE + 21, kind, INDICATORS, True)], MARK_DTYPE)
    found = detector.find_indicators(mark, default_definitions(), 0.0)
    assert [alert.alert_type for alert in found.alerts] == alerts
    assert set(found.again) == {again}
