"""A worker killed between any two of its steps: each bar is there once and right, and each result is told."""

import signal
from pathlib import Path

import pytest

from .conftest import OPENING_NS
from .fleet import assert_all_told, assert_ledger_balances, assert_same_bars, fleet_on, recount, wait_for

MINUTE_NS = 60_000_000_000
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


@pytest.mark.parametrize(
    ("step", "when"), [("apply", "end"), ("stage", "end"), ("commit", "end"), ("ack", "end"), ("commit", "4")]
)
def test_worker_killed_on_the_way_of_a_file_that_is_published_again_leaves_what_that_holds(
    migrated_servers, tmp_path, trades, step, when
):
    file, ticks = trades
    header, *lines = file.read_text().splitlines(keepends=True)
    # Minutes 5 to 7 of one symbol are gone, and one trade of ten anywhere else.
    gone = range(OPENING_NS + 5 * MINUTE_NS, OPENING_NS + 8 * MINUTE_NS)
    kept = [
        line
        for number, line in enumerate(lines)
        if number % 10 and not (line.startswith("IBM,") and int(line.split(",")[3]) in gone)
    ]
    again = tmp_path / "again.csv"
    again.write_text(header + "".join(kept))
    with fleet_on(migrated_servers, tmp_path, partitions=2) as fleet:
        fleet.start_worker("first")
        fleet.start_replay("before", [file])
        assert fleet.exit_code("before", 120) == 0, fleet.logs()
        fleet.stop("first")
        fleet.start_replay("producer", [again])
        fleet.start("killed", step, when, "--", "--consumer", "killed", *OPTIONS, program=KILLED_WORKER)
        assert fleet.processes["killed"].wait(120) == -signal.SIGKILL, fleet.logs()
        fleet.end_leases_of("killed")
        fleet.start_worker("next", *OPTIONS)
        assert fleet.exit_code("producer", 120) == 0, fleet.logs()
        assert_same_bars(fleet.bars(), recount(again))
        totals = "SELECT sum(applied)::int, sum(superseded)::int FROM ledger GROUP BY producer ORDER BY min(updated_at)"
        assert sorted(fleet.rows(totals)) == [(0, ticks), (len(kept), 0)]
        assert fleet.rows("SELECT sum(ticks)::int, sum(taken_away)::int FROM replaced") == [(ticks, 3)]
        assert fleet.rows("SELECT * FROM replay_cover") == []
