"""A worker killed between any two of its steps: each bar is there once and right, and each result is told."""

import signal
from pathlib import Path

import pytest

from .fleet import assert_all_told, assert_ledger_balances, assert_same_bars, fleet_on, recount, wait_for

KILLED_WORKER = Path(__file__).with_name("killed_worker.py")
OPTIONS = ("--commit-ms", "1", "--read-count", "1")  # a commit for each read


@pytest.mark.parametrize(
    ("step", "when"),
    [(step, "end") for step in ("read", "apply", "check", "stage", "commit", "ack", "tell")]
    + [(step, "4") for step in ("stage", "commit", "ack", "tell")],
)
def test_worker_killed_after_a_step_leaves_each_bar_once(migrated_servers, tmp_path, trades, step, when):
    file, ticks = trades
    with fleet_on(migrated_servers, tmp_path, partitions=2) as fleet:
        fleet.start_replay("producer", [file], "--publish")
        fleet.start("killed", step, when, "--", "--consumer", "killed", *OPTIONS, program=KILLED_WORKER)
        code = fleet.processes["killed"].wait(120)
        assert code == -signal.SIGKILL, fleet.logs()
        fleet.end_leases_of("killed")
        fleet.start_worker("next", *OPTIONS)
        assert fleet.exit_code("producer", 120) == 0, fleet.logs()
        wait_for(lambda: fleet.unacked_of_all() == 0, 90, "the last acks")
        assert_same_bars(fleet.bars(), recount(file))
        assert_ledger_balances(fleet, ticks)
        assert_all_told(fleet)
