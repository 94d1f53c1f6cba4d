"""Change the partition count of a stream at rest: the tables in one transaction, then Redis; safe to interrupt."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
import structlog

from ...contracts.errors import SetupError, UsageError
from ...contracts.fleet.fleet_look import StreamLook
from ...contracts.names import FRONT_DOOR, flow_key, renewal_keys, results_key, stream_key
from ...contracts.partition import Position
from ...contracts.printable import first_few
from ...db.look.stream_look import read_stream
from ...db.postgres import Connection
from ...db.queries import query
from ...db.redis import Client
from ...db.streams.bounded_streams import read_ends
from ...db.tables.results import published_numbers
from ...db.world import REAL
from ...workers.partition.dealt_states import Dealt, deal, producers_of
from ...workers.partition.frame_order import FrameOrder
from ...workers.partition.saved_state import LoadedState, load_state

log = structlog.get_logger()

_LOCK_WAIT = "10s"  # for a commit that is not finished
_COMMAND_WAIT = "2s"  # for a command that has ended, but whose connection has not
_RESULTS_KEPT_S = 86_400  # of removed partitions, for subscribers that were away


class RepartitionOutcome(NamedTuple):
    """The result. former: the count before. open_bars: number moved; None if an earlier run moved them."""

    former: int
    open_bars: int | None


def repartition(
    connection: Connection,
    client: Client,
    partitions: int,
    *,
    give_up_spools: bool,
    wait: Callable[[], bool],
) -> RepartitionOutcome | None:
    """Change the partition count; return None if it is right already. Finishes an interrupted change.

    wait: called while the stream is not at rest; returns whether to check again. Raises SetupError with all obstacles,
    UsageError if there is no stream.
    """
    _lock(connection)
    row = connection.execute(query("stream_shape"), {"name": FRONT_DOOR}).fetchone()
    if row is None:
        raise UsageError(f"there is no stream yet: `tickstock migrate --partitions {partitions}` makes one")
    current, former = row
    if former is None and current == partitions:
        return None
    if former is not None and current != partitions:
        raise SetupError(
            f"the change from {former} to {current} partitions was not finished: "
            f"run `tickstock repartition {current}` first"
        )
    open_bars = None
    if former is None:
        former = current
        open_bars = _move_when_at_rest(connection, client, partitions, give_up_spools=give_up_spools, wait=wait)
    clear_redis(client, former, partitions)
    end(connection)
    return RepartitionOutcome(former, open_bars)


def _lock(connection: Connection) -> None:
    """Lock out other commands of this kind."""
    try:
        with connection.transaction():
            connection.execute(query("limit_lock_wait"), {"wait": _COMMAND_WAIT})
            connection.execute(query("lock_repartition"))
    except psycopg.errors.LockNotAvailable as e:
        raise SetupError("another `tickstock repartition` is running: wait until it ends") from e


def _move_when_at_rest(
    connection: Connection, client: Client, partitions: int, *, give_up_spools: bool, wait: Callable[[], bool]
) -> int:
    said: list[str] = []
    while True:
        obstacles = find_obstacles(connection, client, partitions, give_up_spools=give_up_spools)
        if not obstacles:
            moved = move(connection, client, partitions, give_up_spools=give_up_spools)
            if isinstance(moved, int):
                return moved
            obstacles = moved
        if not wait():
            raise SetupError("nothing was changed, because the stream is not at rest:\n- " + "\n- ".join(obstacles))
        if obstacles != said:
            log.info("repartition waits: the stream is not at rest", obstacles=obstacles)
            said = obstacles


# -- at rest? ---------------------------------------------------------------------------------------------------------


def find_obstacles(connection: Connection, client: Client, partitions: int, *, give_up_spools: bool) -> list[str]:
    """Return the reasons why the stream is not at rest, each with its remedy; empty if it is.

    partitions: the wanted count.
    """
    if running := _running(connection):
        return running  # while processes run, the other checks are pointless
    found = read_stream(connection, client)
    obstacles = [*_unread(client, found), *_unfinished_replays(found), *_untold(connection, client, partitions)]
    if not give_up_spools:
        obstacles += [
            f"producer {name} was killed, and may have left a spool, which would be lost: "
            "start a producer on its host once, which sends it, or use --give-up-spools"
            for (name,) in connection.execute(query("unfinished_producers"))
        ]
    return obstacles


def _running(connection: Connection) -> list[str]:
    owners: dict[str, str] = dict(connection.execute(query("running_owners")).fetchall())
    connected = [name for (name,) in connection.execute(query("connected_processes")).fetchall()]
    others = [name for name in connected if not _is_among(owners, name)]
    return [
        *(f"{owner} runs (it holds the lease {unit}): stop it" for owner, unit in owners.items()),
        *(f"a {name} is connected: stop it" for name in others),
    ]


def _is_among(owners: Mapping[str, str], connected: str) -> bool:
    """Tell whether a connected process also holds a lease; a producer's connection has no name."""
    _, _, name = connected.partition(" ")
    return name in owners if name else bool(owners)


def _unread(client: Client, found: StreamLook) -> list[str]:
    behind = [p.partition for p in found.partitions if p.lag_ticks]
    ticks = sum(p.lag_ticks for p in found.partitions)
    starts = [(stream_key(p.partition), Position.parse(p.position).exclusive) for p in found.partitions]
    unread = []
    for p, ends in zip(found.partitions, read_ends(client, starts), strict=True):
        if isinstance(ends, Exception):
            raise ends
        if ends.first is not None:
            unread.append(p.partition)
    do = "run a worker until `tickstock status` shows no lag"
    obstacles = []
    if behind:
        obstacles.append(f"{ticks:,} ticks were sent to partitions {first_few(behind)} and are not committed: {do}")
    if rest := sorted(set(unread) - set(behind)):
        obstacles.append(f"entries of partitions {first_few(rest)} are not committed: {do}")
    if entries := found.front_door.lag_entries:
        obstacles.append(f"{entries:,} entries of {FRONT_DOOR} are not applied everywhere: {do}")
    return obstacles


def _unfinished_replays(found: StreamLook) -> list[str]:
    return [
        f"{replay.name} ({replay.source}) is not finished: replay it to its end with the same command, "
        f"or give it up with `tickstock replay --abandon {replay.name}`"
        for replay in found.replays
        if replay.state in ("running", "unfinished")
    ]


def _untold(connection: Connection, client: Client, partitions: int) -> list[str]:
    rows = connection.execute(query("results_to_tell")).fetchall()
    told = published_numbers(client, [partition for partition, *_ in rows])
    untold = [partition for partition, _, last, *_ in rows if told[partition] < last]
    unspoken = [partition for partition, number, _, spoken, _ in rows if spoken is not None and spoken < number]
    # If no bridge ever ran, results need not be published; a later bridge publishes what it finds, but not of these
    # partitions.
    unheard = [partition for partition, *_, spoken, says in rows if partition >= partitions and spoken is None and says]
    (letters,) = connection.execute(query("count_untold_dead_letters")).fetchone() or (0,)
    obstacles = []
    if untold or letters:
        what = f"results of partitions {first_few(untold)}" if untold else f"{letters:,} dead letters"
        obstacles.append(f"{what} are not copied to Redis: run a worker until they are")
    if unspoken:
        obstacles.append(f"results of partitions {first_few(unspoken)} are not published: run a bridge until they are")
    if unheard:
        what = f"results of partitions {first_few(unheard)} were never published, and would be lost with them"
        obstacles.append(f"{what}: run a bridge until they are")
    return obstacles


# -- the steps --------------------------------------------------------------------------------------------------------


def move(connection: Connection, client: Client, partitions: int, *, give_up_spools: bool) -> int | list[str]:
    """Change the tables in one transaction; return how many open bars moved, or the obstacles.

    After its COMMIT nobody can start until `end`: the streams still hold frames of the former partitions.
    """
    try:
        with connection.transaction():
            connection.execute(query("limit_lock_wait"), {"wait": _LOCK_WAIT})
            connection.execute(query("lock_stream"))
            connection.execute(query("lock_fleet"))
            saved = connection.execute(query("lock_all_checkpoints")).fetchall()
            # Check again: now no other process can start.
            if obstacles := find_obstacles(connection, client, partitions, give_up_spools=give_up_spools):
                return obstacles
            states = [load_state(state, partition) for partition, state in saved if state]
            return _write(connection, states, former=len(saved), partitions=partitions)
    except psycopg.errors.LockNotAvailable:
        return [f"a transaction has held a lease or a checkpoint for {_LOCK_WAIT}: end it"]


def _write(connection: Connection, states: Sequence[LoadedState], *, former: int, partitions: int) -> int:
    count = {"partitions": partitions}
    producers = dict(connection.execute(query("recent_producers")).fetchall()) | producers_of(states)
    names = {"producers": list(producers), "feeds": list(producers.values())}
    connection.execute(query("end_producers"), names)
    connection.execute(query("end_producers_everywhere"), count | names)
    connection.execute(query("place_front_door"), count)
    connection.execute(query("gather_front_door"), count)
    connection.execute(query("end_every_lease"))
    for step in (
        "keep_former_partitions",
        "drop_former_checkpoints",
        "drop_former_leases",
        "drop_former_outbox",
        "drop_former_bridge_positions",
        "add_checkpoints",
        "add_leases",
        "add_bridge_positions",
        "forget_former_partitions",
    ):
        connection.execute(query(step), count)
    dealt = deal(states, partitions, _flows(connection, count | names))
    _replace_checkpoints(connection, dealt)
    connection.execute(query("widen_gaps"))
    connection.execute(query("note_former_replays"), {"former": former})
    connection.execute(query("begin_repartition"), {"name": FRONT_DOOR} | count)
    return sum(state.open_bars for state in dealt)


def _flows(connection: Connection, values: dict[str, Any]) -> dict[int, dict[str, FrameOrder]]:
    flows: dict[int, dict[str, FrameOrder]] = {partition: {} for partition in range(values["partitions"])}
    for partition, producer, feed, number, ended in connection.execute(query("ended_flows"), values):
        flows[partition][producer] = FrameOrder(feed, number, ended=ended, end_applied=ended)
    return flows


def _replace_checkpoints(connection: Connection, dealt: Sequence[Dealt]) -> None:
    values = {
        "partitions": list(range(len(dealt))),
        "tokens": [REAL.token() for _ in dealt],
        "states": [state.state for state in dealt],
        "undetected": [state.undetected for state in dealt],
    }
    connection.execute(query("replace_checkpoints"), values)


def clear_redis(client: Client, former: int, partitions: int) -> None:
    """Delete the streams and their numbers, which are all committed; repeating it changes nothing.

    Results are kept, those of removed partitions for a day.
    """
    pipeline = client.pipeline(transaction=False)
    for partition in range(max(former, partitions)):
        pipeline.unlink(stream_key(partition))
        pipeline.unlink(flow_key(partition))
        for key in renewal_keys(partition):
            pipeline.unlink(key)
        if partition < partitions:
            pipeline.persist(results_key(partition))
        else:
            pipeline.expire(results_key(partition), _RESULTS_KEPT_S)
    pipeline.execute()


def end(connection: Connection) -> None:
    """Allow the fleet to start again."""
    connection.execute(query("end_repartition"), {"name": FRONT_DOOR})
