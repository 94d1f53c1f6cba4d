"""How far the bridge has published each partition's results. Only the newest epoch changes the rows."""

from ...contracts.errors import LeaseLost
from ...contracts.lease import Lease
from ...contracts.names import RUNS
from ..postgres import Connection
from ..publisher import current_epoch
from ..queries import query
from ..redis import Client
from ..schema.migrate import expect_partitions
from .results import published_numbers

Positions = dict[int, int]  # partition -> the number of the last published result


def above_former(connection: Connection, client: Client, owner: str, lease: Lease) -> Lease:
    """Return the lease, with a new epoch if its own was used before. Raises LeaseLost.

    An epoch was used before if Redis or the database was restored from an older copy, or only one of them is new.
    """
    (positions,) = connection.execute(query("newest_bridge_position_epoch")).fetchone() or (0,)
    spoken = max(current_epoch(client), positions)
    return lease if lease.epoch > spoken else next_epoch(connection, owner, lease, above=spoken)


def next_epoch(connection: Connection, owner: str, lease: Lease, *, above: int = 0) -> Lease:
    """Give our lease the next epoch. Raises LeaseLost if it is no longer ours."""
    values = {"owner": owner, "epoch": lease.epoch, "above": above}
    row = connection.execute(query("raise_bridge_epoch"), values).fetchone()
    if row is None:
        raise LeaseLost("another bridge took over")
    return Lease(lease.unit, row[0])


def claim(connection: Connection, epoch: int, partitions: int) -> Positions:
    """Take over the positions of all partitions, and return them; 0 if nothing was published yet.

    Raises LeaseLost, or SetupError if the partition count has changed.
    """
    expect_partitions(connection, partitions)
    values = {"epoch": epoch, "partitions": partitions}
    positions: Positions = dict(connection.execute(query("claim_bridge_positions"), values).fetchall())
    if len(positions) <= partitions:  # the runs have one as well
        raise LeaseLost("another bridge took over")
    return positions


def move(connection: Connection, epoch: int, positions: Positions) -> None:
    """Commit positions. Raises LeaseLost if another bridge has claimed them."""
    values = {"epoch": epoch, "partitions": list(positions), "numbers": list(positions.values())}
    if len(connection.execute(query("move_bridge_positions"), values).fetchall()) < len(positions):
        raise LeaseLost("another bridge took over")


def last_numbers(connection: Connection, client: Client, partitions: int) -> Positions:
    """Return the highest result number of each partition, in the database or in its results stream."""
    numbers: Positions = dict(connection.execute(query("last_outbox_numbers")).fetchall())
    for partition, told in published_numbers(client, (RUNS, *range(partitions))).items():
        numbers[partition] = max(numbers.get(partition, 0), told)
    return numbers
