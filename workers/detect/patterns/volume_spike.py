"""Volume_Spike: the bar trades far more than the 20 bars before it, and than its minute did on the days before.

Source: the standard score of the volume, against the mean and the standard deviation of the bars before (Karpoff
(1987), The Relation between Price Changes and Trading Volume, JFQA 22, on why volume is measured against its own past);
the numbers are ours. If the bars before have nearly equal volumes, their deviation is too small to use; it counts as at
least a quarter of their mean. Found where (volume - mean) / deviation >= `deviations` and volume >= `ratio` x mean; a
symbol that did not trade in the 20 bars before has no mean to compare with, and no spike.

The same two conditions hold against the bars of the same minute in the 7 days before, where there are any (their
deviation is that of those few bars). Where there are none, a bar within the first 20 of its day is no spike: the bars
before it are of another day's close. Nor is the day's last bar, which has the auction.

Direction: the bar's own, bullish where it closes above its open, bearish below, else neither. levels: none.
Confidence: 1 - 0.4 x `deviations` / score, the lower of the two: 0.6 at the rule's edge, towards 1 as it grows. Needs
21 bars.
"""

import numpy as np

from ...windows import Windows
from .kind import Found, OtherDays, Parameters, PatternKind, no_other_days, nothing_found, number
from .usual_volume import usual_volume

BARS = 20  # the bars before, as for relative volume
LEAST_DEVIATION = 0.25  # of the mean


def find_volume_spike(windows: Windows, parameters: Parameters) -> Found:
    """Find the volume spikes on the last bars, compared with the bars before."""
    return confirm_volume_spike(windows, parameters, no_other_days(len(windows.close)))


def confirm_volume_spike(windows: Windows, parameters: Parameters, others: OtherDays) -> Found:
    """Find the volume spikes on the last bars, also compared with other days."""
    deviations = number(parameters, "deviations", 0.5, 100.0)
    ratio = number(parameters, "ratio", 1.0, 1000.0)
    found = nothing_found(len(windows.close))
    rows = np.flatnonzero(windows.length > BARS)
    before = np.ascontiguousarray(windows.volume[rows, -1 - BARS : -1])
    volume, mean = windows.volume[rows, -1], before.mean(axis=1)
    good = (mean > 0) & (volume >= ratio * mean)
    rows, before, volume, mean = rows[good], before[good], volume[good], mean[good]
    score = (volume - mean) / np.maximum(before.std(axis=1), LEAST_DEVIATION * mean)
    usual = usual_volume(others.of_rows(rows))
    deviation = np.maximum(usual.deviation, LEAST_DEVIATION * usual.mean)
    score = np.minimum(score, np.divide(volume - usual.mean, deviation, out=score.copy(), where=deviation > 0))
    good = (score >= deviations) & (volume >= ratio * usual.mean) & usual.is_known
    rows, score = rows[good], score[good]
    found.confidence[rows] = 1 - 0.4 * (deviations / score)
    found.direction[rows] = np.sign(windows.close[rows, -1] - windows.open[rows, -1]).astype(np.int8)
    return found


KIND = PatternKind(
    name="Volume_Spike",
    description="Far more volume than in the 20 bars before, and in the same minute of the days before",
    depth=BARS + 1,
    least_bars=BARS + 1,
    threshold=0.6,
    enabled=True,
    parameters={"deviations": 8.0, "ratio": 4.0},
    find=find_volume_spike,
    confirm=confirm_volume_spike,
)
