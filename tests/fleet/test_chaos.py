"""A real day through a fleet whose processes and servers are killed on the way: every bar is exactly right."""

import logging
import os
import random
import signal
import time
from pathlib import Path
from threading import Event

import polars as pl
import pytest
from tickstockpl.ops.embedded.folder import read_state

from .background import AWAY
from .fleet import assert_ledger_balances, assert_same_bars, fleet_on, strict_bars, wait_for

log = logging.getLogger(__name__)

WORKERS = ("w1", "w2", "w3", "w4")
KILL_EVERY_S = 2.0
STOPPED_S = 7.0  # a lease lives 5 s
HOLDERS_A_MINUTE = 2  # so many of the killed workers must have held unacked frames


@pytest.fixture
def days_of_trades():
    folder = os.environ.get("TICKSTOCK_TEST_DATA")
    if not folder:
        pytest.skip("TICKSTOCK_TEST_DATA is not set: a folder with the days of real trades")
    return Path(folder)


class Chaos:
    """Kills a worker every 2 s, and once each of the other faults at its share of the run."""

    def __init__(self, fleet, servers_folder, replay, seed):
        self.fleet = fleet
        self.servers_folder = servers_folder
        self.replay = replay
        self.random = random.Random(seed)
        self.workers_killed = 0
        self.holders_killed = 0
        self.stopped = None
        self.stopped_until = 0.0

    def run(self, length_s):
        began = time.monotonic()
        faults = [
            (0.35, self.stop_a_worker),  # the market opens here
            (0.45, self.kill_postgres),
            (0.55, self.kill_producer),
            (0.7, self.kill_redis),
        ]
        while (share := (time.monotonic() - began) / length_s) < 1 and self.fleet.processes["producer"].poll() is None:
            while faults and share >= faults[0][0]:
                faults.pop(0)[1]()
            self.continue_the_stopped()
            self.kill_a_worker()
            Event().wait(KILL_EVERY_S)
        self.continue_the_stopped(now=True)
        assert faults == [], "the replay was over before every fault was done"

    def start_worker(self, name):
        self.fleet.start_worker(name, "--commit-ms", "400")

    def working(self):
        names = dict(self.fleet.rows("SELECT pid, consumer FROM worker"))
        return [name for name in WORKERS if name != self.stopped and names.get(self.fleet.processes[name].pid) == name]

    def kill_a_worker(self):
        """Kill one of those that hold frames, if any; look again while it stands still: it may just have acked."""
        try:
            working = self.working()
            name = self.random.choice([name for name in working if self.fleet.unacked(name)] or working)
            self.fleet.processes[name].send_signal(signal.SIGSTOP)
            holds = self.fleet.unacked(name)
        except (IndexError, *AWAY) as e:
            log.info("nobody to kill now: %s", e)
            return
        self.fleet.kill(name)
        self.workers_killed += 1
        self.holders_killed += bool(holds)
        log.info("killed %s, which %s", name, "held frames" if holds else "held nothing")
        self.start_worker(name)

    def stop_a_worker(self):
        """Stop one until its leases are over; the others take its partitions, and it must not disturb them after."""
        self.stopped = wait_for(self.working, 90, "a worker to stop")[0]
        self.fleet.processes[self.stopped].send_signal(signal.SIGSTOP)
        self.stopped_until = time.monotonic() + STOPPED_S
        log.info("stopped %s", self.stopped)

    def continue_the_stopped(self, *, now=False):
        if self.stopped and (now or time.monotonic() > self.stopped_until):
            self.fleet.processes[self.stopped].send_signal(signal.SIGCONT)
            log.info("continued %s", self.stopped)
            self.stopped = None

    def kill_producer(self):
        self.fleet.kill("producer")
        log.info("killed the producer")
        self.replay()

    def kill_postgres(self):
        """Stop it as `pg_ctl stop -m immediate` does: it comes back through crash recovery, at the same address."""
        os.kill(read_state(self.servers_folder).postgres.pid, signal.SIGQUIT)
        log.info("killed PostgreSQL")

    def kill_redis(self):
        os.kill(read_state(self.servers_folder).valkey.pid, signal.SIGKILL)
        log.info("killed Redis")


def survive(own_servers, tmp_path, trades, days, *, length_s, speed):
    """Replay days of trades through a fleet under faults, and look at every bar in the end."""
    seed = random.SystemRandom().randrange(2**32)
    log.warning("seed %d", seed)
    servers_folder, servers = own_servers
    files = [trades / f"{day}.csv.gz" for day in days]
    with fleet_on(servers, tmp_path) as fleet:
        chaos = Chaos(
            fleet, servers_folder, lambda: fleet.start_replay("producer", files, "--speed", speed, "--publish"), seed
        )
        for name in WORKERS:
            chaos.start_worker(name)
        chaos.replay()
        chaos.run(length_s)
        assert fleet.exit_code("producer", length_s + 240) == 0, fleet.logs()
        wait_for(lambda: fleet.unacked_of_all() == 0, 90, "the last acks")
        assert sum(partition["lag_ticks"] for partition in fleet.status()["partitions"]) == 0
        ticks = sum(len(pl.read_csv(file, columns=["correction"]).filter(pl.col("correction") == 0)) for file in files)
        assert_same_bars(fleet.bars(), strict_bars(*(trades / f"bars_strict_{day}.csv" for day in days)))
        assert_ledger_balances(fleet, ticks)
        codes = [fleet.stop(name) for name in WORKERS]
    log.warning("%d of %d killed workers held frames", chaos.holders_killed, chaos.workers_killed)
    assert codes == [0] * len(WORKERS)
    few = "too few of the killed workers held frames: the run has shown nothing"
    assert chaos.holders_killed >= min(5, HOLDERS_A_MINUTE * length_s / 60), few


def test_a_day_under_kills_of_everything_gives_exact_bars(own_servers, tmp_path, days_of_trades):
    survive(own_servers, tmp_path, days_of_trades, ["2013-10-07"], length_s=30, speed="1800x")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_minutes_of_kills_give_exact_bars_of_two_days(own_servers, tmp_path, days_of_trades):
    survive(own_servers, tmp_path, days_of_trades, ["2013-10-07", "2013-10-08"], length_s=600, speed="230x")
