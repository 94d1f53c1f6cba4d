"""(f) Plain entries of anybody's XADD, from `tickstock-stream` to applied and committed ticks."""

import time
from itertools import islice

from drain import has_partition
from fill import market
from place import Place, running, wait_for
from tickstockpl.contracts.names import FRONT_DOOR, FRONT_DOOR_PRODUCER

_ENTRIES_A_PIPELINE = 2000


def front_door_rate(place: Place, count: int, *, within_s: float = 120.0) -> float:
    """Return the ticks a second of one worker; entries are there before it starts."""
    _send(place, count)
    with running(place, "worker", "--consumer", "bench"):
        wait_for(lambda: has_partition(place), within_s=within_s, every_s=0.002)
        started = time.perf_counter()
        wait_for(lambda: _applied(place) >= count, within_s=within_s)
        return count / (time.perf_counter() - started)


def _send(place: Place, count: int) -> None:
    now = time.time()
    rows = (
        ("symbol", batch.symbols[s], "price", price, "volume", size, "timestamp", now)
        for batch in market(70, count, 300)
        for s, price, size in zip(batch.symbol_index.tolist(), batch.price.tolist(), batch.size.tolist(), strict=True)
    )
    rows = islice(rows, count)
    while some := list(islice(rows, _ENTRIES_A_PIPELINE)):
        pipeline = place.client.pipeline(transaction=False)
        for row in some:
            pipeline.execute_command("XADD", FRONT_DOOR, "*", *row)
        pipeline.execute()


def _applied(place: Place) -> int:
    return place.count("SELECT sum(applied)::bigint FROM ledger WHERE producer = %s HAVING sum(applied) > 0",
                       FRONT_DOOR_PRODUCER)  # fmt: skip
