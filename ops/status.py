"""What the fleet looks like at this moment, read from both servers; nothing is changed, and no worker is asked."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from redis.exceptions import ResponseError

from ..contracts.names import DOOR_ASIDE, FRONT_DOOR, FRONT_DOOR_PRODUCER
from ..contracts.partition import START, Position, position_of
from ..db.lag import Committed, Lag, committed_numbers, lags, look, noted_numbers, with_noted
from ..db.postgres import Connection
from ..db.queries import query
from ..db.redis import Client, is_foreign, redis_ms
from .forgotten import Forgotten, forgotten_entries, forgotten_ticks
from .redis_replay import Replay, replay_of

_COUNTS_ENTRIES = 7  # the first version of Redis that does
_COUNT_PAGE = 500  # entries of the front door looked at in one reply


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
    """The counts run since the worker's start; a worker that ended keeps its last ones.

    silent: it fell silent without a word: killed, or cut off.
    """

    consumer: str
    running: bool
    silent: bool
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
    """applied: the lowest entry id that is applied in every partition. lag_entries: entries behind it.

    None: unknown, because the key holds something else. lost: entries that were trimmed or deleted before they were
    read; None where Redis does not count what it adds. lost_between: the ids between which that was so last.
    """

    applied: str
    lag_entries: int | None
    lost: int | None = 0
    lost_between: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class RedisStatus:
    """max_memory_bytes: None where there is no limit. replay: what of its file a start of it brings back."""

    version: str
    memory_bytes: int
    max_memory_bytes: int | None
    policy: str
    aof: bool
    replay: Replay = "whole"


@dataclass(frozen=True, slots=True)
class Status:
    """partitions_total: 0 where no process has created the stream yet. forgotten: what Redis held and holds no more.

    repeated_ticks: trades that came again, ever.
    """

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
    forgotten: list[Forgotten] = field(default_factory=list)
    repeated_ticks: int = 0


def read_status(connection: Connection, client: Client) -> Status:
    """Look at both servers. PostgreSQL first: what is committed meanwhile then only makes the lag look longer."""
    row = connection.execute(query("stream_partitions"), {"name": FRONT_DOOR}).fetchone()
    committed, noted = committed_numbers(connection), noted_numbers(connection)
    rows = connection.execute(query("partition_status")).fetchall()
    positions = {partition: Position.kept(position) for partition, _, _, position, *_ in rows}
    in_redis = look(client, positions)
    lag = lags(positions, committed, with_noted(in_redis, noted), redis_ms(client))
    partitions = [_partition(row, lag[row[0]]) for row in rows]
    ages = [partition.lag_s for partition in partitions]
    return Status(
        stream=FRONT_DOOR,
        partitions_total=row[0] if row else 0,
        lag_ticks=sum(partition.lag_ticks for partition in partitions),
        lag_s=None if None in ages else max((age for age in ages if age is not None), default=0.0),
        partitions=partitions,
        front_door=_front_door(connection, client, committed, list(positions)),
        workers=_workers(connection, partitions),
        replays=_replays(connection),
        dead_letters=dict(connection.execute(query("dead_letter_reasons")).fetchall()),
        repeated_ticks=(connection.execute(query("repeated_ticks")).fetchone() or (0,))[0],
        redis=redis_status(client),
        forgotten=[*forgotten_ticks(committed, noted, in_redis), *forgotten_entries(positions, in_redis)],
    )


def _partition(row: tuple[Any, ...], lag: Lag) -> PartitionStatus:
    partition, owner, epoch, position, committed_at, pause_s = row
    return PartitionStatus(partition, owner, epoch, lag.ticks, lag.age_s, position, committed_at, pause_s)


def _front_door(
    connection: Connection, client: Client, committed: dict[int, dict[str, Committed]], partitions: list[int]
) -> FrontDoorStatus:
    nothing = Committed(0, finished=False)
    numbers = [committed.get(p, {}).get(FRONT_DOOR_PRODUCER, nothing).number for p in partitions]
    applied = position_of(min(numbers, default=0))
    lost, *between = connection.execute(query("front_door_loss")).fetchone() or (0, None, None)
    lost_between = tuple(between) if lost else None
    return FrontDoorStatus(
        str(applied), _waiting(client, applied), lost if _counts_entries(client) else None, lost_between
    )


def _waiting(client: Client, applied: Position) -> int | None:
    """Return how many entries of the front door wait; None where its key holds something else."""
    try:
        return int(client.xlen(FRONT_DOOR) + client.xlen(DOOR_ASIDE)) - _entries_up_to(client, applied)
    except ResponseError as e:
        if not is_foreign(e):
            raise
        return None


def _counts_entries(client: Client) -> bool:
    """Tell whether the server counts the entries that it adds to a stream: Redis 7.0 and later, Valkey."""
    return int(str(client.info("server")["redis_version"]).partition(".")[0]) >= _COUNTS_ENTRIES


def _entries_up_to(client: Client, last: Position) -> int:
    """Count the front door's entries that are applied: few, because it is trimmed behind itself."""
    count, start = 0, "-"
    while last > START:
        page = client.execute_command("XRANGE", FRONT_DOOR, start, str(last), "COUNT", _COUNT_PAGE)
        count += len(page)
        if len(page) < _COUNT_PAGE:
            break
        start = Position.parse(page[-1][0]).exclusive
    return count


def _workers(connection: Connection, partitions: list[PartitionStatus]) -> list[WorkerStatus]:
    owned: dict[str, list[int]] = {}
    for partition in partitions:
        if partition.owner:
            owned.setdefault(partition.owner, []).append(partition.partition)
    return [
        WorkerStatus(consumer, running, silent, owned.get(consumer, []), *rest)
        for consumer, running, silent, *rest in connection.execute(query("worker_status"))
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


def redis_status(client: Client) -> RedisStatus:
    """Look at one server."""
    found = client.info()
    return RedisStatus(
        version=redis_version(found),
        memory_bytes=found["used_memory"],
        max_memory_bytes=found.get("maxmemory") or None,
        policy=found.get("maxmemory_policy", "noeviction"),
        aof=bool(found.get("aof_enabled")),
        replay=replay_of(client),
    )


def redis_version(found: dict[str, Any]) -> str:
    """Name the server and its version: Valkey says which Redis it stands for in `redis_version`."""
    valkey = found.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {found['redis_version']}"
