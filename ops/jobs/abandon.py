"""Give up an unfinished replay: drop its open minutes in all partitions, and count it as ended."""

import os
import time
from collections.abc import Callable
from typing import NamedTuple

from ...contracts.errors import SetupError, UsageError
from ...contracts.frames.frame import FIELD
from ...contracts.frames.maker import Identity, make_frame
from ...contracts.names import stream_key
from ...contracts.ticks import Ticks
from ...db.lease import LEASE_TTL_S
from ...db.postgres import Connection
from ...db.queries import query
from ...db.redis import Client, redis_ms
from ...db.streams.flow import forget_flow
from ...producer.producer_lease import ProducerLease
from ..audit.ledger import read_ledger
from ..process.shutdown import Stop
from ..wiring.servers import Place, open_both, open_postgres
from . import fleet

_LOOK_EVERY_S = 0.05


class Abandoned(NamedTuple):
    """The outcome of a replay's ticks. dropped: in open minutes; kept: in closed bars."""

    dropped: int
    kept: int


def abandon_replay(where: Place, name: str, partitions: int | None, stop: Stop) -> Abandoned:
    """Abandon a replay, with a worker of our own in addition to the running ones, and delete its numbers in Redis.

    Raises UsageError if there is nothing to abandon, LeaseTaken if a replay runs, SetupError if the wait was stopped.
    """
    client, count = open_both(where, partitions=partitions)
    with open_postgres(where, name="tickstock-abandon") as connection:
        _check_abandonable(connection, name)
        lease = _take_replay_lease(where, name, stop.wait)
        workers = [fleet.start(where, "worker", "--consumer", f"abandon-{os.getpid()}")]
        try:
            with fleet.stopped_at_the_end(workers):
                abandoned = _abandon(
                    connection, client, name, count, lease=lease, wait=stop.wait,
                    is_hopeless=lambda: fleet.expect_one_alive(workers),
                )  # fmt: skip
            # Only now: a worker writes `done` just after the commit that we waited for.
            forget_flow(client, name, range(count))
            return abandoned
        finally:
            lease.release()


def _check_abandonable(connection: Connection, name: str) -> None:
    """Raise UsageError if there is no such replay, or nothing of it to abandon."""
    row = connection.execute(query("replay_end"), {"name": name}).fetchone()
    if row is None:
        raise UsageError(f"no replay is named {name}: `tickstock status` names them")
    _, abandoned, has_ended = row
    if has_ended:
        raise UsageError(f"{name} was abandoned already" if abandoned else f"{name} is finished: all its bars are kept")


def _take_replay_lease(where: Place, name: str, wait: Callable[[float], bool]) -> ProducerLease:
    """Keep replays from running. Waits for a killed producer's lease to end; raises LeaseTaken if one runs."""
    deadline = time.monotonic() + LEASE_TTL_S + 1.0
    return ProducerLease(
        where.servers.database_url,
        "replay",
        f"abandon {name}",
        wait=lambda seconds: wait(seconds) or time.monotonic() > deadline,
    )


def _abandon(
    connection: Connection,
    client: Client,
    name: str,
    partitions: int,
    *,
    lease: ProducerLease,
    is_hopeless: Callable[[], None],
    wait: Callable[[float], bool],
) -> Abandoned:
    """Ask every partition to drop its open bars, and wait for that.

    is_hopeless: raises if no worker is left. Raises SetupError if the wait was stopped.
    """
    born_ms = redis_ms(client)
    identity = Identity(name, name, "replay", publish=False, codec="none")
    body = make_frame(identity, Ticks.empty(), "abandon", 0, 0, born_ms)
    for partition in range(partitions):
        client.xadd(stream_key(partition), {FIELD: body})
    while (connection.execute(query("replay_end"), {"name": name}).fetchone() or (0,))[0] < partitions:
        is_hopeless()
        lease.check()
        if wait(_LOOK_EVERY_S):
            raise SetupError("stopped before every partition had dropped its bars: run the command again")
    rows = read_ledger(connection, name)
    return Abandoned(sum(row.lost for row in rows), sum(row.applied for row in rows))
