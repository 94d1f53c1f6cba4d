"""How far the streams are processed, and by which workers; read from both servers, without changes."""

from collections.abc import Sequence
from typing import Any

from ...contracts.fleet.fleet_look import FrontDoorLook, PartitionLook, RedisLook, ReplayLook, StreamLook, WorkerLook
from ...contracts.names import DOOR_ASIDE, FRONT_DOOR, FRONT_DOOR_PRODUCER, results_key
from ...contracts.partition import START, Position, position_of
from ..postgres import Connection
from ..queries import query
from ..redis import Client, is_foreign, redis_ms
from ..streams.bounded_streams import count_up_to
from .lag import Committed, InRedis, Lag, committed_numbers, lags, noted_numbers, read_partitions, with_noted
from .redis_losses import forgotten_entries, forgotten_ticks

_COUNTS_ENTRIES = 7  # since this version of Redis


def read_stream(
    connection: Connection, client: Client, *, redis: RedisLook | None = None, with_counts: bool = True
) -> StreamLook:
    """Read both servers, PostgreSQL first: ticks committed in between only make the lag look longer.

    redis: the server's state, if read already. with_counts: also count dead letters and repeated trades, which is slow
    if there are many, and which no rule needs.
    """
    row = connection.execute(query("stream_partitions"), {"name": FRONT_DOOR}).fetchone()
    committed, noted = committed_numbers(connection), noted_numbers(connection)
    rows = connection.execute(query("partition_status")).fetchall()
    positions = {partition: Position.kept(position) for partition, _, _, position, *_ in rows}
    in_redis = read_partitions(client, positions)
    lag = lags(positions, committed, with_noted(in_redis, noted), redis_ms(client))
    results = lengths(client, [results_key(partition) for partition in positions])
    partitions = [
        _partition(row, lag[row[0]], in_redis[row[0]], count) for row, count in zip(rows, results, strict=True)
    ]
    ages = [partition.lag_s for partition in partitions]
    return StreamLook(
        stream=FRONT_DOOR,
        partitions_total=row[0] if row else 0,
        lag_ticks=sum(partition.lag_ticks for partition in partitions),
        lag_s=None if None in ages else max((age for age in ages if age is not None), default=0.0),
        partitions=partitions,
        front_door=_front_door(connection, client, committed, list(positions)),
        workers=_workers(connection, partitions),
        replays=_replays(connection),
        dead_letters=dict(connection.execute(query("dead_letter_reasons")).fetchall()) if with_counts else {},
        repeated_ticks=(connection.execute(query("repeated_ticks")).fetchone() or (0,))[0] if with_counts else 0,
        redis=redis or read_redis(client),
        forgotten=[*forgotten_ticks(committed, noted, in_redis), *forgotten_entries(positions, in_redis)],
    )


def lengths(client: Client, keys: Sequence[str]) -> list[int | None]:
    """Return the length of each stream; None if the key holds another type."""
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.xlen(key)
    replies = pipeline.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, Exception) and not is_foreign(reply):
            raise reply
    return [None if isinstance(reply, Exception) else int(reply) for reply in replies]


def _partition(row: tuple[Any, ...], lag: Lag, found: InRedis, results: int | None) -> PartitionLook:
    partition, owner, epoch, position, committed_at, pause_s = row
    entries = None if found.is_foreign else found.entries
    return PartitionLook(
        partition, owner, epoch, lag.ticks, lag.age_s, position, committed_at, pause_s, entries, results
    )


def _front_door(
    connection: Connection, client: Client, committed: dict[int, dict[str, Committed]], partitions: list[int]
) -> FrontDoorLook:
    nothing = Committed(0, finished=False)
    numbers = [committed.get(p, {}).get(FRONT_DOOR_PRODUCER, nothing).number for p in partitions]
    applied = position_of(min(numbers, default=0))
    lost, *between = connection.execute(query("front_door_loss")).fetchone() or (0, None, None)
    lost_between = tuple(between) if lost else None
    entries, aside = lengths(client, [FRONT_DOOR, DOOR_ASIDE])
    waiting = None if entries is None or aside is None else entries + aside - _applied(client, applied)
    return FrontDoorLook(str(applied), waiting, lost if _counts_entries(client) else None, lost_between, entries)


def _counts_entries(client: Client) -> bool:
    """Tell whether the server counts entries added to a stream: Redis 7.0 and later, Valkey."""
    return int(str(client.info("server")["redis_version"]).partition(".")[0]) >= _COUNTS_ENTRIES


def _applied(client: Client, last: Position) -> int:
    """Count the applied entries that are still in the front door: few, because they are trimmed."""
    return count_up_to(client, FRONT_DOOR, last) if last > START else 0


def _workers(connection: Connection, partitions: list[PartitionLook]) -> list[WorkerLook]:
    owned: dict[str, list[int]] = {}
    for partition in partitions:
        if partition.owner:
            owned.setdefault(partition.owner, []).append(partition.partition)
    return [
        WorkerLook(consumer, running, silent, owned.get(consumer, []), *rest)
        for consumer, running, silent, *rest in connection.execute(query("worker_status"))
    ]


def _replays(connection: Connection) -> list[ReplayLook]:
    return [
        ReplayLook(
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


def read_redis(client: Client) -> RedisLook:
    """Read one server's state, except whether a restart restores its data."""
    found = client.info()
    return RedisLook(
        version=redis_version(found),
        memory_bytes=found["used_memory"],
        max_memory_bytes=found.get("maxmemory") or None,
        policy=found.get("maxmemory_policy", "noeviction"),
        aof=bool(found.get("aof_enabled")),
    )


def redis_version(found: dict[str, Any]) -> str:
    """Return the server's name and version. Valkey reports the compatible Redis version in `redis_version`."""
    valkey = found.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {found['redis_version']}"
