"""Patterns of a day that one of its session confirms: tier `combo`."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from ...contracts.detection import Detection
from ...db.tables.daily_found import Combo, Signal

TIER = "combo"
TIMEFRAME = "daily_intraday"  # of what is told, so that its flow_id is another than the day's


def combos_of(detections: Sequence[Detection], signals: Sequence[Signal], ends: Mapping[int, datetime]) -> list[Combo]:
    """Return each pattern of a day whose session has one of the same direction.

    It is as sure as the less sure of the two. ends: when a day's session ended, by its first minute.
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
