"""Combos: a daily pattern and an intraday pattern of the same day and direction, stored with the tier `combo`."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from ...contracts.detection import Detection
from ...db.tables.daily_found import Combo, Signal

TIER = "combo"
TIMEFRAME = "daily_intraday"  # of a published combo, so that its flow_id differs from that of the daily pattern


def combos_of(detections: Sequence[Detection], signals: Sequence[Signal], ends: Mapping[int, datetime]) -> list[Combo]:
    """Return a combo for each daily pattern with an intraday pattern of the same direction in the day's session.

    Its confidence is the lower one of the two. ends: first minute of a day (UTC midnight) -> end of its session.
    """
    by_session = {(signal.symbol, signal.closes, signal.direction): signal for signal in signals}
    found = []
    for daily in detections:
        signal = by_session.get((daily.symbol, ends[daily.minute], daily.direction))
        if signal is not None:
            sure = min(daily.confidence, signal.confidence)
            told = replace(daily, tier=TIER, timeframe=TIMEFRAME, confidence=sure, base_rate=None)
            found.append(Combo(daily, signal, told))
    return found
