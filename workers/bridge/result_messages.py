"""A row of the outbox -> the messages of the documented channels."""

from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from ...contracts.detection import Detection, IndicatorAlert, IndicatorValue
from ...contracts.messages.message import Message
from ...contracts.messages.pattern_messages import alert_message, indicator_message, pattern_messages
from ...contracts.messages.run_message import RunMessage, with_result_id
from ...contracts.names import RUNS
from ...contracts.spellings.json_text import NOT_JSON
from ...contracts.timeframe import INTRADAY
from ...db.tables.results import OutboxRow

log = structlog.get_logger()

_SILENT = ("bars", "void")  # kinds without messages

_LIVE_S = 900.0  # the largest delay of an accepted live tick; later detections belong to a replay

_DECODE: dict[str, Callable[[bytes], list[Any]]] = {
    "patterns": msgspec.json.Decoder(list[Detection]).decode,
    "indicators": msgspec.json.Decoder(list[IndicatorValue]).decode,
    "alerts": msgspec.json.Decoder(list[IndicatorAlert]).decode,
    "run": msgspec.json.Decoder(list[RunMessage]).decode,
}


def messages_of(row: OutboxRow, session_id: str) -> list[Message]:
    """Return the messages of a row's results, in order. A result without a valid message is logged and left out."""
    if row.kind in _SILENT:
        return []
    result_id = f"{'runs' if row.partition == RUNS else row.partition}-{row.number}"
    messages: list[Message] = []
    for result in _results(row):
        try:
            if row.kind == "run":
                messages.append(with_result_id(result, result_id))
            elif row.kind == "indicators":
                messages.append(indicator_message(result, session_id=session_id, result_id=result_id))
            elif row.kind == "patterns":
                messages += pattern_messages(result, session_id=session_id, result_id=result_id)
            else:
                messages.append(alert_message(result, session_id=session_id, result_id=result_id))
        except ValueError as e:
            log.warning("result cannot be published", result_id=result_id, kind=row.kind, why=str(e))
    return messages


def newest_live_close_s(row: OutboxRow) -> float | None:
    """Return the end of the newest live bar with a pattern in a row, Unix seconds; None without such a bar."""
    if row.kind != "patterns":
        return None
    closes = [
        ((found.minute + INTRADAY[found.timeframe]) * 60, found.detected_at)
        for found in _results(row)
        if found.timeframe in INTRADAY
    ]
    return max((close_s for close_s, at_s in closes if 0 <= at_s - close_s <= _LIVE_S), default=None)


def _results(row: OutboxRow) -> list[Any]:
    """Decode a row; return nothing if it is unreadable (from a newer worker), so that later rows need not wait."""
    try:
        return _DECODE[row.kind](row.body)
    except KeyError:
        why = "its kind is unknown"
    except NOT_JSON as e:
        why = str(e)
    log.error("results cannot be published", result_id=f"{row.partition}-{row.number}", kind=row.kind, why=why)
    return []
