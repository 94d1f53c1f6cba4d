"""Daily runs by real processes that are killed: the same rows as an undisturbed run, and every event in its order."""

import json
import random
import threading
from threading import Event

import pytest
import redis
from tickstockpl.contracts.accepted.acceptance import first_violation
from tickstockpl.contracts.names import JOBS

from .daily_market import SYMBOLS, fill, forget, found_rows, has_ended, start, start_jobs
from .fleet import Fleet, wait_for

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


def disturb(fleet, numbers, number):
    """Kill one of the processes or all of them, and begin others; now and then Redis forgets, or repeats."""
    names = [name for name, process in fleet.processes.items() if name.startswith("jobs") and process.poll() is None]
    killed = names if number % 4 == 3 else [numbers.choice(names)]
    for name in killed:
        fleet.kill(name)
    if number % 3 == 1:
        fleet.redis.flushall()
    for _, fields in fleet.redis.xrange(JOBS, count=3):
        fleet.redis.xadd(JOBS, fields)
    for _ in killed:
        start_jobs(fleet)


class Heard:
    """What a subscriber hears of runs, from a thread of its own."""

    def __init__(self, servers):
        self.messages = []
        self._stop = Event()
        self._client = redis.Redis.from_url(servers.redis_url)
        self._pubsub = self._client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.psubscribe("tickstock:*", "tickstock.events.patterns")
        self._thread = threading.Thread(target=self._hear)
        self._thread.start()

    def _hear(self):
        while not self._stop.is_set():
            if message := self._pubsub.get_message(timeout=0.1):
                self.messages.append((message["channel"].decode(), json.loads(message["data"])))

    def of_runs(self):
        return [(channel, body) for channel, body in self.messages if "payload" in body and "run_id" in body["payload"]]

    def close(self):
        self._stop.set()
        self._thread.join()
        self._client.close()


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
            disturb(fleet, numbers, kills)
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
    heard = Heard(fleet.servers)
    try:
        fleet.start("bridge", "bridge", "--name", "bridge")
        wait_for(lambda: fleet.rows("SELECT 1 FROM lease WHERE unit = 'bridge' AND owner IS NOT NULL"), 60, fleet.logs)
        for _ in range(2):
            start_jobs(fleet)
        run_id = start(fleet)
        wait_for(lambda: has_ended(fleet, run_id), 90, fleet.logs)
        wait_for(lambda: [b for _, b in heard.of_runs() if b["event"] == "daily_processing_completed"], 60, fleet.logs)
    finally:
        heard.close()
    said = heard.of_runs()
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
