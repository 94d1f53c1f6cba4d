"""How far the workers are behind: ticks that are sent and not committed, and the age of the oldest."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ...contracts.names import FRONT_DOOR_PRODUCER, flow_key, stream_key
from ...contracts.partition import START, Position
from ..postgres import Connection
from ..queries import query
from ..redis import Client, is_foreign, redis_ms
from ..streams.bounded_streams import StreamEnds, read_ends
from ..streams.flow import sent_numbers

MAX_NUMBER = 2**63 - 1  # the largest value of a bigint column
_AT_ONCE = 256  # partitions in one reply, each with some frames


class Committed(NamedTuple):
    """The number up to which a producer's ticks are committed. finished: its replay ended there."""

    number: int
    finished: bool


class InRedis(NamedTuple):
    """One partition in Redis. last: None if there is no stream; oldest: the first entry after the position.

    is_foreign: one of its keys holds another type, so that nothing is known.
    """

    sent: dict[str, int]
    entries: int
    last: Position | None
    oldest: Position | None
    is_foreign: bool = False


class Sent(NamedTuple):
    """The number up to which a producer has sent, as it recorded it in PostgreSQL. lives: it can still send again."""

    number: int
    lives: bool
    since: datetime
    until: datetime


class Lag(NamedTuple):
    """ticks: sent, not committed. age_s: of the oldest entry after the position; 0: none waits, None: unknown."""

    ticks: int
    age_s: float | None


def read_lags(connection: Connection, client: Client) -> dict[int, Lag]:
    """Return the lag of each partition."""
    committed = committed_numbers(connection)
    noted = noted_numbers(connection)
    rows = connection.execute(query("committed_positions"))
    positions = {partition: Position.kept(position) for partition, position in rows}
    return lags(positions, committed, with_noted(read_partitions(client, positions), noted), redis_ms(client))


def lags(
    positions: Mapping[int, Position],
    committed: Mapping[int, Mapping[str, Committed]],
    in_redis: Mapping[int, InRedis],
    now_ms: int,
) -> dict[int, Lag]:
    """Return the lag of each partition, from values of both servers. Read PostgreSQL first.

    Ticks that are committed between the two reads only make the lag look longer.
    """
    return {p: _lag(position, committed.get(p, {}), in_redis[p], now_ms) for p, position in positions.items()}


def committed_numbers(connection: Connection) -> dict[int, dict[str, Committed]]:
    """Return the number up to which each producer's ticks are committed, by partition."""
    numbers: dict[int, dict[str, Committed]] = {}
    for partition, producer, number, finished in connection.execute(query("committed_numbers")):
        numbers.setdefault(partition, {})[producer] = Committed(number, finished)
    return numbers


def noted_numbers(connection: Connection) -> dict[int, dict[str, Sent]]:
    """Return the number up to which live producers have sent, by partition, as recorded in PostgreSQL."""
    numbers: dict[int, dict[str, Sent]] = {}
    for partition, producer, *sent in connection.execute(query("sent_numbers")):
        numbers.setdefault(partition, {})[producer] = Sent(*sent)
    return numbers


def with_noted(in_redis: Mapping[int, InRedis], noted: Mapping[int, Mapping[str, Sent]]) -> dict[int, InRedis]:
    """Add the recorded `sent` numbers: ticks that Redis has lost are still waited for."""
    return {p: found._replace(sent=_higher(found.sent, noted.get(p, {}))) for p, found in in_redis.items()}


def _higher(sent: Mapping[str, int], noted: Mapping[str, Sent]) -> dict[str, int]:
    return {**sent, **{producer: max(note.number, sent.get(producer, 0)) for producer, note in noted.items()}}


def read_partitions(client: Client, positions: Mapping[int, Position]) -> dict[int, InRedis]:
    """Read partitions in Redis; positions: the committed position of each."""
    found: dict[int, InRedis] = {}
    numbered = list(positions.items())
    for first in range(0, len(numbered), _AT_ONCE):
        some = numbered[first : first + _AT_ONCE]
        pipeline = client.pipeline(transaction=False)
        for partition, _ in some:
            pipeline.hgetall(flow_key(partition))
        flows = pipeline.execute(raise_on_error=False)
        ends = read_ends(client, [(stream_key(partition), position.exclusive) for partition, position in some])
        found |= {p: _in_redis(flow, end) for (p, _), flow, end in zip(some, flows, ends, strict=True)}
    return found


def _in_redis(flow: Any, stream: StreamEnds | Exception) -> InRedis:
    if is_foreign(flow) or is_foreign(stream):
        return InRedis({}, 0, None, None, is_foreign=True)
    if isinstance(flow, Exception):
        raise flow
    if isinstance(stream, Exception):
        raise stream
    return InRedis(sent_numbers(flow), stream.length, stream.last, stream.first)


def _lag(position: Position, committed: Mapping[str, Committed], in_redis: InRedis, now_ms: int) -> Lag:
    ticks = sum(
        _waiting(number, committed.get(producer))
        for producer, number in in_redis.sent.items()
        if producer != FRONT_DOOR_PRODUCER  # its numbers are entry ids and count no ticks
    )
    return Lag(ticks, _age_s(position, in_redis, ticks, now_ms))


def _waiting(sent: int, committed: Committed | None) -> int:
    if committed is None:
        return sent
    return 0 if committed.finished else max(0, sent - committed.number)


def _age_s(position: Position, in_redis: InRedis, ticks: int, now_ms: int) -> float | None:
    if in_redis.is_foreign:
        return None
    if in_redis.oldest is not None:
        return max(0, now_ms - in_redis.oldest.ms) / 1000
    # No entry is after the position. If ticks still wait, or the stream ends before the committed position, Redis has
    # lost entries, and their age is unknown.
    if ticks or (in_redis.last or START) < position:
        return None
    return 0.0
