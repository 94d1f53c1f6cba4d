"""Backtests by real processes that are killed: the bytes of undisturbed ones, and one result, heard by a subscriber."""

import json
import random
from itertools import pairwise
from threading import Event

import psycopg
import pytest
from backtest_rows import Application, add_wandering_days, ended, kept
from tickstockpl.contracts.accepted.acceptance import first_violation

from .fleet import Fleet, wait_for
from .jobs_fleet import Heard, disturb_jobs, start_jobs

SYMBOLS = [f"S{number:02}" for number in range(24)]
JOBS_AT_ONCE = 3
PROCESSES = 3
KILLS = 8
LONGEST_SILENCE_S = 5.0


@pytest.fixture
def fleet(migrated_servers, tmp_path):
    fleet = Fleet(migrated_servers, tmp_path, partitions=2)
    yield fleet
    fleet.end()


@pytest.fixture
def database(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        add_wandering_days(connection, *SYMBOLS)
        yield connection


def test_jobs_whose_processes_are_killed_again_and_again_leave_the_bytes_of_undisturbed_ones(fleet, database, figure):
    seed = random.randrange(10**6)
    numbers = random.Random(seed)
    application = Application(fleet.redis)
    for _ in range(PROCESSES):
        start_jobs(fleet)
    wait_for(lambda: application.listeners() == PROCESSES, 60, fleet.logs)
    killed = [f"killed-{number}" for number in range(JOBS_AT_ONCE)]
    for job in killed:
        application.ask(job, symbols=SYMBOLS)
    wait_for(lambda: fleet.rows("SELECT 1 FROM run_step"), 60, fleet.logs)
    kills = 0
    while not all(ended(database, job) for job in killed):
        Event().wait(numbers.uniform(0.0, 0.6))
        if kills < KILLS:
            disturb_jobs(fleet, numbers, kills)
            kills += 1
        assert kills < KILLS or wait_for(lambda: all(ended(database, job) for job in killed), 120, fleet.logs)
    figure(f"seed {seed}: {kills} kills")
    assert kills >= 2, seed

    wait_for(application.listeners, 60, fleet.logs)
    application.ask("whole", symbols=SYMBOLS)
    wait_for(lambda: ended(database, "whole"), 120, fleet.logs)
    undisturbed = kept(database, "whole")
    assert len(undisturbed["backtest_trade"]) > 200
    for job in killed:
        assert kept(database, job) == undisturbed, seed
    assert fleet.rows("SELECT DISTINCT status FROM run") == [("completed",)]
    assert fleet.rows("SELECT count(*) FROM backtest_part") == [(0,)]
    bodies = [text for (text,) in fleet.rows("SELECT body FROM outbox WHERE partition = -1 ORDER BY number")]
    results = [body["job_id"] for text in bodies for channel, body in json.loads(text) if channel.endswith("results")]
    assert sorted(results) == sorted([*killed, "whole"]), seed


def test_a_job_is_heard_from_its_beginning_to_its_figures_as_the_application_accepts_it(fleet, database):
    """One of its symbols cannot be done for longer than the application may hear nothing."""
    application = Application(fleet.redis)

    def said_of(job):
        return [(channel.split(".")[-1], body) for channel, body in heard.messages if body["job_id"] == job]

    with Heard(fleet.servers, "tickstock.events.backtesting.*") as heard:
        fleet.start("bridge", "bridge", "--name", "bridge")
        for _ in range(2):
            start_jobs(fleet)
        wait_for(lambda: fleet.rows("SELECT 1 FROM lease WHERE unit = 'bridge' AND owner IS NOT NULL"), 60, fleet.logs)
        wait_for(lambda: application.listeners() == 2, 60, fleet.logs)
        with psycopg.connect(fleet.servers.database_url) as blocking:
            blocking.execute("LOCK TABLE backtest_part IN EXCLUSIVE MODE")
            application.ask("heard", symbols=SYMBOLS)
            wait_for(lambda: len(said_of("heard")) > LONGEST_SILENCE_S + 2, 60, fleet.logs)
        application.ask("bad", symbols=["GONE"])
        for job in ("heard", "bad"):
            wait_for(lambda job=job: "results" in dict(said_of(job)), 60, fleet.logs)
            assert ended(database, job)
    assert [f"{channel}: {why}" for channel, body in heard.messages if (why := first_violation(channel, body))] == []
    *progress, (name, results) = said_of("heard")
    assert (name, results["status"]) == ("results", "completed")
    times = [body["timestamp"] for _, body in progress]
    assert max(after - before for before, after in pairwise(times)) < LONGEST_SILENCE_S
    shares = [body["progress"] for _, body in progress]
    assert (shares[0], shares[-1], shares) == (0.0, 1.0, sorted(shares))
    assert [body["status"] for _, body in said_of("bad")] == ["failed"]
