"""Daily runs by real processes that are killed: the same rows as an undisturbed run, and every event in its order."""

import random
from threading import Event

import pytest
from tickstockpl.contracts.accepted.acceptance import first_violation

from .daily_market import SYMBOLS, fill, forget, found_rows, has_ended, start
from .fleet import Fleet, wait_for
from .jobs_fleet import Heard, disturb_jobs, start_jobs

PROCESSES = 3
KILLS = 8
IN_ORDER = [
    "processing:status", "import:started", "import:progress", "import:completed", "cache:started", "cache:completed",
    "indicators:started", "indicators:progress", "indicators:completed", "patterns:started", "patterns:progress",
    "patterns:completed", "processing:status",
]  # fmt: skip


@pytest.fixture
def fleet(migrated_servers, tmp_path):
    fleet = Fleet(migrated_servers, tmp_path, partitions=2)
    yield fleet
    fleet.end()


def without_repeats(values):
    return [value for i, value in enumerate(values) if i == 0 or value != values[i - 1]]


def test_a_run_whose_processes_are_killed_again_and_again_ends_with_the_rows_of_an_undisturbed_one(fleet, figure):
    fill(fleet)
    seed = random.randrange(10**6)
    numbers = random.Random(seed)
    for _ in range(PROCESSES):
        start_jobs(fleet)
    run_id = start(fleet)
    kills = 0
    while not has_ended(fleet, run_id):
        Event().wait(numbers.uniform(0.05, 1.0))
        if kills < KILLS:
            disturb_jobs(fleet, numbers, kills)
            kills += 1
        assert kills < KILLS or wait_for(lambda: has_ended(fleet, run_id), 90, fleet.logs)
    figure(f"seed {seed}: {kills} kills")
    assert kills >= 2
    assert fleet.rows("SELECT status, symbols_processed, symbols_failed FROM run") == [("completed", SYMBOLS, 0)], seed
    assert fleet.rows("SELECT DISTINCT status FROM run_step") == [("done",)]
    disturbed = found_rows(fleet)
    assert all(disturbed[table] for table in ("daily_indicators", "daily_patterns", "weekly_patterns", "ohlcv_monthly"))
    bodies = fleet.rows("SELECT number, body FROM outbox WHERE partition = -1 ORDER BY number")
    assert [number for number, _ in bodies] == list(range(1, len(bodies) + 1))

    forget(fleet)
    again = start(fleet)
    wait_for(lambda: has_ended(fleet, again), 90, fleet.logs)
    assert found_rows(fleet) == disturbed, seed


def test_every_event_of_a_run_is_heard_in_its_order_as_the_application_accepts_it(fleet):
    fill(fleet)

    def said_of_runs():
        return [(on, body) for on, body in heard.messages if "payload" in body and "run_id" in body["payload"]]

    with Heard(fleet.servers, "tickstock:*", "tickstock.events.patterns") as heard:
        fleet.start("bridge", "bridge", "--name", "bridge")
        wait_for(lambda: fleet.rows("SELECT 1 FROM lease WHERE unit = 'bridge' AND owner IS NOT NULL"), 60, fleet.logs)
        for _ in range(2):
            start_jobs(fleet)
        run_id = start(fleet)
        wait_for(lambda: has_ended(fleet, run_id), 90, fleet.logs)
        wait_for(lambda: [b for _, b in said_of_runs() if b["event"] == "daily_processing_completed"], 60, fleet.logs)
    said = said_of_runs()
    assert [f"{channel}: {why}" for channel, body in heard.messages if (why := first_violation(channel, body))] == []
    assert {body["payload"]["run_id"] for _, body in said} == {str(run_id)}
    channels = [
        channel.removeprefix("tickstock:")
        for channel, body in said
        if body["event"] != "daily_processing_progress" and not channel.endswith(":calculated")
    ]
    assert without_repeats(channels) == IN_ORDER
    names = [body["event"] for _, body in said]
    for both in (
        ("processing_started", "daily_processing_started"),
        ("import_started", "data_import_started"),
        ("import_completed", "data_import_completed"),
        ("processing_completed", "daily_processing_completed"),
    ):
        assert [names.count(name) for name in both] == [1, 1]
    assert names.count("indicator_calculated") > SYMBOLS
    percents = [
        body["payload"]["percent_complete"] for channel, body in said if channel == "tickstock:patterns:progress"
    ]
    assert (percents[0], percents[-1]) == (0.0, 100.0)
    assert percents == sorted(percents)
    last = [body for channel, body in heard.messages if channel == "tickstock.events.patterns"]
    assert {body["data"]["tier"] for body in last} == {"daily"}


def test_a_second_process_of_a_name_waits_for_it_says_so_and_is_refused(fleet):
    """A third one, which is stopped while it waits, ends well; a fourth one gets the name when it is free."""
    fleet.start("first", "jobs", "--name", "j1")
    wait_for(lambda: "coordinator is active" in fleet.log_file("first").read_text(), 90, "the first one's start")
    second = fleet.start("second", "jobs", "--name", "j1")
    wait_for(lambda: "waiting for the name" in fleet.log_file("second").read_text(), 90, "the second one's wait")
    fleet.start("third", "jobs", "--name", "j1")
    wait_for(lambda: "waiting for the name" in fleet.log_file("third").read_text(), 90, "the third one's wait")
    assert fleet.stop("third") == 0
    assert second.wait(60) == 1
    error = fleet.log_file("second").read_text().splitlines()[-1]
    assert error == "Error: a process tickstock-jobs named j1 runs already: start this one with another --name"
    assert fleet.processes["first"].poll() is None
    fleet.kill("first")
    fleet.start("fourth", "jobs", "--name", "j1")
    wait_for(lambda: "coordinator is active" in fleet.log_file("fourth").read_text(), 90, "the fourth one's start")
