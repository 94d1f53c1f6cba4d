"""What the fleet looks like at this moment, read from both servers; nothing is changed, and no worker is asked."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis.exceptions import ResponseError

from ..contracts.names import FRONT_DOOR, FRONT_DOOR_PRODUCER, flow_key, stream_key
from ..contracts.partition import START, Position, position_of
from ..db.postgres import Connection
from ..db.queries import query
from ..db.redis import Client, redis_ms
from ..workers.partition_reader import sent_numbers

_COUNT_PAGE = 10_000  # entries of the front door looked at in one reply


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """lag_ticks: sent, not committed. lag_s: age of the oldest entry above the position; 0: none waits, None: unknown.

    owner: None where no worker has it. pause_s: how long the partition stood still when it moved the last time.
    """

    partition: int
    owner: str | None
    epoch: int
    lag_ticks: int
    lag_s: float | None
    position: str
    last_commit: datetime | None
    pause_s: float | None


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """The counts run since the worker's start; a worker that ended keeps its last ones."""

    consumer: str
    running: bool
    partitions: list[int]
    host: str | None
    pid: int | None
    started_at: datetime | None
    updated_at: datetime | None
    ticks: int
    bars: int
    revisions: int
    commits: int
    fenced: int
    restores: int


@dataclass(frozen=True, slots=True)
class ReplayStatus:
    """state: running, unfinished (its last minutes stay open), finished or abandoned.

    partitions: how many it ends in, of the stream that it was sent into.
    """

    name: str
    state: str
    source: str
    started_at: datetime
    ended_at: datetime | None
    partitions_ended: int
    ticks: int
    partitions: int


@dataclass(frozen=True, slots=True)
class FrontDoorStatus:
    """applied: the lowest entry id that is applied in every partition. lag_entries: entries behind it."""

    applied: str
    lag_entries: int


@dataclass(frozen=True, slots=True)
class RedisStatus:
    """max_memory_bytes: None where there is no limit."""

    version: str
    memory_bytes: int
    max_memory_bytes: int | None
    policy: str
    aof: bool


@dataclass(frozen=True, slots=True)
class Status:
    """partitions_total: 0 where no process has created the stream yet."""

    stream: str
    partitions_total: int
    lag_ticks: int
    lag_s: float | None
    partitions: list[PartitionStatus]
    front_door: FrontDoorStatus
    workers: list[WorkerStatus]
    replays: list[ReplayStatus]
    dead_letters: dict[str, int]
    redis: RedisStatus


@dataclass(frozen=True, slots=True)
class _Committed:
    number: int
    finished: bool


@dataclass(frozen=True, slots=True)
class _InRedis:
    """One partition in Redis. last: None where it has no stream; oldest: the first entry above the position."""

    sent: dict[str, int]
    last: Position | None
    oldest: Position | None


def read_status(connection: Connection, client: Client) -> Status:
    """Look at both servers. PostgreSQL first: what is committed meanwhile then only makes the lag look longer."""
    row = connection.execute(query("stream_partitions"), {"name": FRONT_DOOR}).fetchone()
    committed = _committed_numbers(connection)
    rows = connection.execute(query("partition_status")).fetchall()
    positions = {partition: Position.parse(position) for partition, _, _, position, *_ in rows}
    in_redis = _look(client, positions)
    now_ms = redis_ms(client)
    partitions = [_partition(row, committed.get(row[0], {}), in_redis[row[0]], now_ms) for row in rows]
    ages = [partition.lag_s for partition in partitions]
    return Status(
        stream=FRONT_DOOR,
        partitions_total=row[0] if row else 0,
        lag_ticks=sum(partition.lag_ticks for partition in partitions),
        lag_s=None if None in ages else max((age for age in ages if age is not None), default=0.0),
        partitions=partitions,
        front_door=_front_door(client, committed, list(positions)),
        workers=_workers(connection, partitions),
        replays=_replays(connection),
        dead_letters=dict(connection.execute(query("dead_letter_reasons")).fetchall()),
        redis=_redis(client),
    )


def _committed_numbers(connection: Connection) -> dict[int, dict[str, _Committed]]:
    numbers: dict[int, dict[str, _Committed]] = {}
    for partition, producer, number, finished in connection.execute(query("committed_numbers")):
        numbers.setdefault(partition, {})[producer] = _Committed(number, finished)
    return numbers


def _look(client: Client, positions: dict[int, Position]) -> dict[int, _InRedis]:
    pipeline = client.pipeline(transaction=False)
    for partition, position in positions.items():
        pipeline.hgetall(flow_key(partition))
        pipeline.xinfo_stream(stream_key(partition))
        pipeline.execute_command("XRANGE", stream_key(partition), f"({position}", "+", "COUNT", 1)
    replies = pipeline.execute(raise_on_error=False)
    return {p: _in_redis(*replies[3 * i : 3 * i + 3]) for i, p in enumerate(positions)}


def _in_redis(flow: Any, stream: Any, entries: Any) -> _InRedis:
    for reply in (flow, stream, entries):
        if isinstance(reply, Exception) and "no such key" not in str(reply):
            raise reply
    last = None if isinstance(stream, ResponseError) else Position.parse(stream["last-generated-id"])
    return _InRedis(sent_numbers(flow), last, Position.parse(entries[0][0]) if entries else None)


def _partition(
    row: tuple[Any, ...], committed: dict[str, _Committed], in_redis: _InRedis, now_ms: int
) -> PartitionStatus:
    partition, owner, epoch, position, committed_at, pause_s = row
    lag_ticks = sum(
        _waiting(number, committed.get(producer))
        for producer, number in in_redis.sent.items()
        if producer != FRONT_DOOR_PRODUCER  # its numbers are entry ids and count no ticks
    )
    lag_s = _lag_s(Position.parse(position), in_redis, lag_ticks, now_ms)
    return PartitionStatus(partition, owner, epoch, lag_ticks, lag_s, position, committed_at, pause_s)


def _waiting(sent: int, committed: _Committed | None) -> int:
    if committed is None:
        return sent
    return 0 if committed.finished else max(0, sent - committed.number)


def _lag_s(position: Position, in_redis: _InRedis, lag_ticks: int, now_ms: int) -> float | None:
    if in_redis.oldest is not None:
        return max(0, now_ms - in_redis.oldest.ms) / 1000
    # Nothing is above the position. Where ticks wait all the same, or the stream ends below what was committed, Redis
    # has lost entries, and nobody knows how old those were.
    if lag_ticks or (in_redis.last or START) < position:
        return None
    return 0.0


def _front_door(client: Client, committed: dict[int, dict[str, _Committed]], partitions: list[int]) -> FrontDoorStatus:
    nothing = _Committed(0, finished=False)
    numbers = [committed.get(p, {}).get(FRONT_DOOR_PRODUCER, nothing).number for p in partitions]
    applied = position_of(min(numbers, default=0))
    return FrontDoorStatus(str(applied), client.xlen(FRONT_DOOR) - _entries_up_to(client, applied))


def _entries_up_to(client: Client, last: Position) -> int:
    """Count the front door's entries that are applied: few, because it is trimmed behind itself."""
    count, start = 0, "-"
    while last > START:
        page = client.execute_command("XRANGE", FRONT_DOOR, start, str(last), "COUNT", _COUNT_PAGE)
        count += len(page)
        if len(page) < _COUNT_PAGE:
            break
        start = f"({page[-1][0].decode()}"
    return count


def _workers(connection: Connection, partitions: list[PartitionStatus]) -> list[WorkerStatus]:
    owned: dict[str, list[int]] = {}
    for partition in partitions:
        if partition.owner:
            owned.setdefault(partition.owner, []).append(partition.partition)
    return [
        WorkerStatus(consumer, running, owned.get(consumer, []), *rest)
        for consumer, running, *rest in connection.execute(query("worker_status"))
    ]


def _replays(connection: Connection) -> list[ReplayStatus]:
    return [
        ReplayStatus(
            name,
            _replay_state(ended == partitions, abandoned, sending),
            source,
            started_at,
            ended_at,
            ended,
            ticks,
            partitions,
        )
        for name, source, started_at, ended_at, ended, abandoned, sending, ticks, partitions in connection.execute(
            query("replay_status")
        )
    ]


def _replay_state(ended: bool, abandoned: bool, sending: bool) -> str:
    if ended:
        return "abandoned" if abandoned else "finished"
    return "running" if sending else "unfinished"


def _redis(client: Client) -> RedisStatus:
    found = client.info()
    return RedisStatus(
        version=redis_version(found),
        memory_bytes=found["used_memory"],
        max_memory_bytes=found.get("maxmemory") or None,
        policy=found.get("maxmemory_policy", "noeviction"),
        aof=bool(found.get("aof_enabled")),
    )


def redis_version(found: dict[str, Any]) -> str:
    """Name the server and its version: Valkey says which Redis it stands for in `redis_version`."""
    valkey = found.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {found['redis_version']}"
