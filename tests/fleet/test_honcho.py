"""The Procfile, run by honcho as a user runs it: no address set, so that the fleet starts servers of its own."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import psycopg
import pytest
from ports import free_port, take
from tickstockpl.ops.embedded.folder import read_state

from .fleet import wait_for

PROCFILE = Path(__file__).parents[2] / "Procfile"
BIN = Path(sys.executable).parent
METRICS_PORT = 4101  # of a process, above honcho's PORT for it
# From the first end on honcho waits 5 s, then kills. That eight processes and two servers end in order is asserted
# here; how soon is the machine's affair.
PATIENT_HONCHO = """
from honcho import command, manager

manager.KILL_WAIT = 600
command.main()
"""
OWNERS = "SELECT owner, count(*) FROM lease WHERE unit LIKE 'partition:%' AND expires_at > clock_timestamp() GROUP BY 1"


@pytest.fixture
def home(make_reachable_folder):
    """Give a data folder."""
    folder = make_reachable_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def ports():
    """Find a PORT for honcho whose eight metrics ports are free."""
    while True:
        port = random.randrange(5500, 15_000)
        if all(take(port + METRICS_PORT + more) for more in (0, 1, 2, 3, 100, 200, 300, 400)):
            return port


def test_honcho_runs_the_fleet_a_killed_worker_and_a_stopped_one_come_back_and_a_stop_leaves_nothing(
    home, tmp_path, tickstock
):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("REDIS", "DATABASE", "TICKSTOCK", "PORT"))}
    environment |= {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "TICKSTOCK_DATA_DIR": str(home),
        "TICKSTOCK_SPEED": "60x",  # at the default 1x the first bar takes a minute
        "TICKSTOCK_RATE": "5",  # this is about processes: a bar a second is enough
        "TICKSTOCK_SYMBOLS": "5",
        "TICKSTOCK_API_PORT": str(free_port()),
        **{k: v for k, v in os.environ.items() if k in ("TICKSTOCK_REDIS_SERVER", "TICKSTOCK_POSTGRES_BIN")},
    }
    log = tmp_path / "log"
    port = ports()
    command = [sys.executable, "-c", PATIENT_HONCHO, "--no-colour", "-f", str(PROCFILE)]
    command += ["start", "-p", str(port), "-c", "worker=4"]
    with log.open("wb") as out:
        honcho = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=tmp_path
        )
    try:
        state = wait_for(lambda: read_state(home), 30, log.read_text)

        def rows(statement):
            with psycopg.connect(state.servers().database_url, autocommit=True, connect_timeout=5) as connection:
                return connection.execute(statement).fetchall()

        def shares():
            assert honcho.poll() is None, log.read_text()
            try:
                return dict(rows(OWNERS))
            except psycopg.errors.UndefinedTable:  # the schema is being made
                return {}

        def shared_by_four():
            return sorted((owned := shares()).values()) == [4, 4, 4, 4] and owned

        def shown():
            return [owned_by(port + METRICS_PORT + i) for i in range(4)]

        def alive():
            said = tickstock("status", "--json", "--data-dir", home)
            return {worker["consumer"] for worker in json.loads(said.stdout)["workers"] if worker["running"]}

        before = wait_for(shared_by_four, 40, log.read_text)
        wait_for(lambda: rows("SELECT count(*) FROM ohlcv_1min")[0][0] > 0, 20, log.read_text)
        wait_for(lambda: alive() == set(before), 60, log.read_text)
        wait_for(lambda: shown() == [4, 4, 4, 4], 60, shown)

        victim = min(before)
        os.kill(int(victim.rpartition("-")[2]), signal.SIGKILL)
        rows(f"UPDATE lease SET expires_at = clock_timestamp() WHERE owner = '{victim}' RETURNING 1")  # a shorter wait
        after = wait_for(lambda: victim not in (owned := shared_by_four() or {victim: 0}) and owned, 20, log.read_text)
        assert len(set(after) - set(before)) == 1
        wait_for(lambda: alive() == set(after), 60, log.read_text)
        wait_for(lambda: shown() == [4, 4, 4, 4], 60, shown)  # the new one under the port of the old one
        wait_for(lambda: gauge("tickstock_workers", port + METRICS_PORT + 100) == 4, 60, log.read_text)
        wait_for(lambda: runs_days(port + METRICS_PORT + 300, environment["TICKSTOCK_API_PORT"]), 60, log.read_text)
        wait_for(lambda: gauge("tickstock_producer_up", port + METRICS_PORT + 200) == 1, 60, log.read_text)

        stopped = min(after)  # as a rolling restart does
        os.kill(int(stopped.rpartition("-")[2]), signal.SIGTERM)
        wait_for(lambda: stopped not in (shared_by_four() or {stopped: 0}), 20, log.read_text)

        honcho.send_signal(signal.SIGTERM)
        assert honcho.wait(120) == 128 + signal.SIGTERM
    finally:
        if honcho.poll() is None:
            end_all_of(honcho)
    said = log.read_text()
    codes = dict(re.findall(r"(\S+) stopped \(rc=(-?\d+)\)", said))
    names = ["worker.1", "worker.2", "worker.3", "worker.4", "bridge.1", "producer.1", "jobs.1", "api.1"]
    assert codes == dict.fromkeys(names, "0"), said
    wait_for(lambda: not ((now := read_state(home)).valkey.pid or now.postgres.pid), 10, "the embedded servers' end")
    wait_for(lambda: not processes_of(home), 10, lambda: processes_of(home))  # their watchdog notes that, and ends


def runs_days(jobs_port, api_port):
    """Tell whether somebody would do a daily run, and the API answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{api_port}/api/processing/status", timeout=60) as answer:
            return answer.status == 200 and gauge("tickstock_jobs_coordinator", jobs_port) == 1
    except OSError:
        return False


def owned_by(port):
    """Ask a worker for its partitions."""
    return gauge("tickstock_partitions_owned", port)


def gauge(name, port):
    """Read a metric of a process, by the name that its line begins with; None where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return None
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), None)


def processes_of(home):
    """Return the command lines of all processes that name the data folder."""
    lines = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(home) in line]


def end_all_of(honcho):
    """End honcho and what it has started; the embedded servers follow."""
    for process in [*psutil.Process(honcho.pid).children(recursive=True), honcho]:
        process.kill()
    honcho.wait()
