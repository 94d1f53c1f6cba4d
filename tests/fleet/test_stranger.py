"""Each kind of a stranger's mischief by itself, on a fleet that works: nobody dies of it, and every tick is applied."""

import time

import pytest
from redis.exceptions import ResponseError
from tickstockpl.contracts.names import FRONT_DOOR

from .fleet import fleet_on, wait_for
from .stranger import KINDS, Stranger
from .tick_writers import DoorWriter

PARTITIONS = 4
SYMBOLS = tuple(f"DOOR.{n}" for n in range(20))
LATE_S = 420  # older than any other tick here: its bar closes at once
PROCESSES = {
    "w1": ("worker", "--consumer", "w1", "--commit-ms", 100),
    "w2": ("worker", "--consumer", "w2", "--commit-ms", 100),
    "b1": ("bridge", "--name", "b1"),
    "live": ("producer", "--source", "synthetic", "--rate", 100),
    "channel": ("producer", "--source", "channel", "--no-repair"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_process_ends_or_stalls(migrated_servers, tmp_path, kind):
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        for name, arguments in PROCESSES.items():
            fleet.start(name, *arguments)
        wait_for(lambda: sum(fleet.owners().values()) == PARTITIONS, 90, fleet.logs)
        door = DoorWriter(migrated_servers, SYMBOLS, rate=100, seed=1)
        stranger = Stranger(migrated_servers, [kind], partitions=PARTITIONS, rate=100, seed=1)
        for thread in (door, stranger):
            thread.start()
        wait_for(lambda: stranger.turns > 300, 90)
        for thread in (stranger, door):
            thread.finish()
        died = {name: process.poll() for name, process in fleet.processes.items() if process.poll()}
        assert died == {}, "\n".join(f"-- {name}\n{fleet.log_file(name).read_text()[-2000:]}" for name in died)
        assert_ticks_still_become_bars(fleet)
        assert {name: fleet.stop(name) for name in reversed(PROCESSES)} == dict.fromkeys(PROCESSES, 0), fleet.logs()


def assert_ticks_still_become_bars(fleet):
    """Send a tick of each symbol, of all partitions among them, and wait for its bar."""
    at_s = int(time.time()) - LATE_S
    for symbol in SYMBOLS:
        wait_for(lambda symbol=symbol: is_added(fleet, symbol, at_s), 60)
    bars = 'SELECT count(*) FROM ohlcv_1min WHERE symbol LIKE %s AND "timestamp" <= to_timestamp(%s) AND volume = 7'
    wait_for(lambda: fleet.rows(bars, "DOOR.%", at_s) == [(len(SYMBOLS),)], 60, fleet.logs)


def is_added(fleet, symbol, at_s):
    fields = {"symbol": symbol, "price": 100, "volume": 7, "timestamp": at_s}
    try:
        return fleet.redis.xadd(FRONT_DOOR, fields)
    except ResponseError:  # the last id there is was taken by somebody
        return None
