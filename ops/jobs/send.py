"""Send one tick through the front door and report its result."""

import time
from contextlib import closing
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from ...contracts.bar import MINUTE_NS
from ...contracts.errors import UsageError
from ...contracts.names import FRONT_DOOR
from ...contracts.partition import Position
from ...contracts.spellings.tick_json import parse_entries
from ...contracts.ticks import Ticks
from ...db.look.stream_look import read_stream
from ...db.postgres import Connection
from ...db.queries import query
from ...db.redis import Client, redis_ms
from ...db.schema.migrate import check_schema
from ..process.shutdown import Stop
from ..wiring.servers import Place, open_postgres, open_redis
from .dead_letters import list_letters

_LOOK_EVERY_S = 0.1
_LETTERS = 1000  # more than others may add while we wait


class Sent(NamedTuple):
    """The result of a tick. minute: the start of its bar. refused: why, and its dead letter; None if accepted.

    applied: False if no worker applied it in time.
    """

    entry_id: str
    minute: datetime
    applied: bool
    refused: str | None


def send_tick(where: Place, tick: tuple[str, str, str], *, at: datetime | None, wait_s: float, stop: Stop) -> Sent:
    """Send (symbol, price, volume), all as text, traded `at` (None: now). Raises UsageError for an invalid tick."""
    with closing(open_postgres(where, name="tickstock-send")) as connection:
        check_schema(connection)
        client = open_redis(where)
        now_s = redis_ms(client) / 1000
        fields = _fields(tick, now_s if at is None else at.timestamp())
        (ticks,) = [parse_entries([(0, fields)])]
        _expect_one(ticks)
        (last_letter,) = connection.execute(query("last_dead_letter")).fetchone() or (0,)
        reply = client.execute_command("XADD", FRONT_DOOR, "*", *fields)
        entry_id = reply.decode() if isinstance(reply, bytes) else str(reply)
        applied = _await(connection, client, Position.parse(entry_id), wait_s, stop)
        ts_ns = int(ticks.ts[0])
        minute = datetime.fromtimestamp(ts_ns // MINUTE_NS * 60, UTC)
        return Sent(entry_id, minute, applied, _refusal(connection, ticks, last_letter) if applied else None)


def _fields(tick: tuple[str, str, str], at_s: float) -> list[bytes]:
    named = dict(zip(("symbol", "price", "volume"), tick, strict=True)) | {"timestamp": f"{at_s:.6f}"}
    return [part.encode() for pair in named.items() for part in pair]


def _expect_one(ticks: Ticks) -> None:
    for refused in ticks.refused:
        raise UsageError(f"this is not a tick: {refused.reason}, {refused.detail}")
    if not len(ticks):
        raise UsageError("this is not a tick")


def _await(connection: Connection, client: Client, sent: Position, wait_s: float, stop: Stop) -> bool:
    """Wait until every partition has applied the front door up to an entry."""
    deadline_s = time.monotonic() + wait_s
    while Position.parse(read_stream(connection, client, with_counts=False).front_door.applied) < sent:
        if time.monotonic() >= deadline_s or stop.wait(_LOOK_EVERY_S):
            return False
    return True


def _refusal(connection: Connection, ticks: Ticks, last_letter: int) -> str | None:
    symbol = ticks.symbols[ticks.symbol_index[0]]
    for letter in list_letters(connection, reason=None, limit=_LETTERS):
        if letter.id > last_letter and _is_tick(letter.original, symbol, int(ticks.ts[0])):
            return f"{letter.reason}: {letter.detail} (`tickstock dlq show {letter.id}`)"
    return None


def _is_tick(original: bytes, symbol: str, ts_ns: int) -> bool:
    try:
        said = msgspec.json.decode(original)
    except msgspec.DecodeError:
        return False
    return isinstance(said, dict) and (said.get("symbol"), said.get("timestamp")) == (symbol, ts_ns)
