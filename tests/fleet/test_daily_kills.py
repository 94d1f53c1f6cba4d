"""Daily runs by processes that die between any two of their steps, and on servers that die: the same rows."""

import os
import random
import signal
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from threading import Event

import pytest
from tickstockpl.ops.embedded.folder import read_state

from .daily_market import SYMBOLS, fill, forget, found_rows, has_ended, start
from .fleet import fleet_on, wait_for
from .killed_jobs import NEVER, OF_COORDINATORS, OF_WORKERS

KILLED_JOBS = Path(__file__).with_name("killed_jobs.py")
LEASE_S = 5  # of the coordinator, and the silence after which a step is taken over
BUSY_S = 2.0  # which a machine with other work may add
PROCESSES = 4
DEATHS = 50


class Crew:
    """Processes that do runs, and what they noted: which steps they computed, and when they died."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.notes = fleet.folder / "notes"
        self.notes.touch()
        self.kinds = {}

    def add(self, place=NEVER, count=1):
        name = f"jobs-{len(self.fleet.processes)}-{place}"
        self.kinds[name] = place
        self.fleet.start(name, place, count, self.notes, "--", "--name", name, program=KILLED_JOBS)
        return name

    def living(self):
        return [name for name in self.fleet.processes if not self.has_died(name)]

    def fill_up(self, numbers):
        """Let there be PROCESSES again, one that lives, and others that die at some place, soon or later."""
        kinds = [self.kinds[name] for name in self.living()]
        if NEVER not in kinds:
            self.add()
        for _ in range(PROCESSES - max(1, len(kinds))):
            place = numbers.choice([*OF_WORKERS, *OF_COORDINATORS])
            self.add(place, numbers.randint(1, 12) if place in OF_WORKERS else 1)

    def kill_coordinator(self):
        """Kill who coordinates, at some step: who takes over may be one that dies of it, too."""
        wait_for(lambda: len(self.noted()) > 10, 60, self.fleet.logs)
        for (owner,) in self.fleet.rows("SELECT owner FROM lease WHERE unit = 'jobs' AND owner IS NOT NULL"):
            if owner in self.living():
                self.fleet.kill(owner)
                with self.notes.open("a") as notes:
                    notes.write(f"dies {time.time()} {owner}\n")

    def has_died(self, name):
        return self.fleet.processes[name].poll() == -signal.SIGKILL

    def end_leases_of_the_dead(self):
        """Only the test's wait is shorter."""
        for name in filter(self.has_died, self.fleet.processes):
            self.fleet.end_leases_of(name)

    def coordinates(self, name):
        return self.fleet.rows("SELECT 1 FROM lease WHERE unit = 'jobs' AND owner = %s", name)

    def is_ready(self, name):
        return self.fleet.rows("SELECT 1 FROM pg_stat_activity WHERE application_name = %s", f"tickstock-jobs {name}")

    def deaths(self):
        return sum(what == "dies" for what, _, _ in self.noted())

    def longest_wait_s(self):
        """Return for how long nobody computed a step, from the last one, or from the last death after it."""
        noted = sorted(self.noted(), key=lambda line: line[1])
        return max(after[1] - before[1] for before, after in pairwise(noted) if after[0] == "computes")

    def noted(self):
        return [(what, float(at_s), which) for what, at_s, which in map(str.split, self.notes.read_text().splitlines())]

    def computed_again(self):
        """Count the computings of steps beyond one of each."""
        steps = Counter(which for what, _, which in self.noted() if what == "computes")
        return steps.total() - len(steps)


def end_run(fleet, run_id):
    wait_for(lambda: has_ended(fleet, run_id), 120, fleet.logs)
    said = "SELECT status, symbols_processed, symbols_failed FROM run WHERE run_id = %s"
    assert fleet.rows(said, run_id) == [("completed", SYMBOLS, 0)], fleet.logs()
    assert fleet.rows("SELECT DISTINCT status FROM run_step WHERE run_id = %s", run_id) == [("done",)]
    return found_rows(fleet)


def undisturbed(crew):
    """Return the rows of a run that nobody disturbs."""
    forget(crew.fleet)
    return end_run(crew.fleet, start(crew.fleet))


def kill_servers(folder):
    """Kill both at once; their watchdog starts them again, at the same addresses."""
    for server in (read_state(folder).postgres, read_state(folder).valkey):
        os.kill(server.pid, signal.SIGKILL)


def test_whoever_dies_at_any_place_and_both_servers_leave_the_rows_of_an_undisturbed_run(own_servers, tmp_path):
    folder, servers = own_servers
    with fleet_on(servers, tmp_path, partitions=2) as fleet:
        fill(fleet)
        crew = Crew(fleet)
        first = crew.add()
        wait_for(lambda: crew.coordinates(first), 60, fleet.logs)
        workers = [crew.add(place) for place in OF_WORKERS]
        wait_for(lambda: all(map(crew.is_ready, workers)), 60, fleet.logs)
        run_id = start(fleet, batch=1)
        wait_for(lambda: all(map(crew.has_died, workers)), 60, fleet.logs)
        fleet.kill(first)
        for place in OF_COORDINATORS:
            crew.end_leases_of_the_dead()
            one = crew.add(place)
            wait_for(lambda one=one: crew.has_died(one), 60, fleet.logs)
        crew.end_leases_of_the_dead()
        crew.add()
        done = "SELECT count(*) FROM run_step WHERE run_id = %s AND status = 'done'"
        (before,) = fleet.rows(done, run_id)
        wait_for(lambda: fleet.rows(done, run_id) > [before], 60, fleet.logs)
        assert not has_ended(fleet, run_id)
        assert crew.computed_again() < len(fleet.processes)  # each of the dead had one step in its hands at most
        kill_servers(folder)
        rows = end_run(fleet, run_id)
        assert rows == undisturbed(crew)
        assert all(rows[table] for table in ("daily_indicators", "daily_patterns", "weekly_patterns", "ohlcv_monthly"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_50_deaths_at_random_steps_redo_one_step_each_at_most_and_nobody_waits_longer_than_a_lease(
    own_servers, tmp_path, figure, say_progress
):
    seed = random.SystemRandom().randrange(2**32)
    numbers = random.Random(seed)
    with fleet_on(own_servers[1], tmp_path, partitions=2) as fleet:
        fill(fleet)
        crew = Crew(fleet)
        crew.add()
        rows, deaths, again, longest_s = undisturbed(crew), 0, 0, 0.0
        while deaths < DEATHS:
            forget(fleet)
            crew.fill_up(numbers)
            wait_for(lambda: all(map(crew.is_ready, crew.living())), 60, fleet.logs)
            crew.notes.write_text("")
            run_id = start(fleet, batch=1)
            crew.kill_coordinator()
            while not has_ended(fleet, run_id):
                crew.fill_up(numbers)
                Event().wait(0.05)
            assert end_run(fleet, run_id) == rows, seed
            assert crew.computed_again() <= crew.deaths(), seed
            deaths, again = deaths + crew.deaths(), again + crew.computed_again()
            longest_s = max(longest_s, crew.longest_wait_s())
            say_progress(f"{deaths} deaths, {again} steps computed again, at most {longest_s:.1f} s without a step")
    figure(f"seed {seed}: {deaths} deaths, {again} steps computed again, at most {longest_s:.1f} s without a step")
    assert longest_s < LEASE_S + 1 + BUSY_S, seed
