"""Leases: exclusive rights, timed by the database's clock.

A lease that is not renewed is free after its time to live.
"""

from ..contracts.errors import LeaseTaken
from ..contracts.lease import Lease
from .postgres import Connection
from .queries import query

LEASE_TTL_S = 5.0  # two renewals, one each third, may fail
RENEW_EVERY_S = LEASE_TTL_S / 3


def take(connection: Connection, unit: str, owner: str) -> Lease:
    """Take a free or expired lease. Raises LeaseTaken with the holder's name."""
    connection.execute(query("ensure_lease"), {"unit": unit})
    values = {"unit": unit, "owner": owner, "ttl_s": LEASE_TTL_S}
    row = connection.execute(query("take_lease"), values).fetchone()
    if row is None:
        holder = connection.execute(query("lease_holder"), {"unit": unit}).fetchone()
        raise LeaseTaken(f"{unit} is held by {holder[0]}" if holder else f"{unit} is held")
    return Lease(unit, row[0])


def renew(connection: Connection, owner: str, leases: list[Lease]) -> set[str]:
    """Renew leases; return the units that are still ours."""
    values = {"owner": owner, "ttl_s": LEASE_TTL_S} | _columns(leases)
    return {unit for (unit,) in connection.execute(query("renew_leases"), values)}


def release(connection: Connection, owner: str, leases: list[Lease]) -> None:
    """Release leases and notify the processes that wait for them."""
    connection.execute(query("release_leases"), {"owner": owner} | _columns(leases))
    connection.execute(query("tell_lease_moved"))


def _columns(leases: list[Lease]) -> dict[str, object]:
    return {"units": [lease.unit for lease in leases], "epochs": [lease.epoch for lease in leases]}
