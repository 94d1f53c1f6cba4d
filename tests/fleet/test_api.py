"""tickstock-api as a process: where it listens, who may write, how it ends, and what it says while a server hangs."""

import os
import signal
import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import requests
from conftest import own_servers
from ports import free_port
from tickstockpl.ops.embedded.folder import read_state

from .fleet import fleet_on, wait_for
from .scrape import Port


def start(fleet, *options, name="api", **how):
    """Start the API; return its port once it answers."""
    port = free_port()
    fleet.start(name, "api", "--port", port, *options, **how)
    wait_for(lambda: fleet.processes[name].poll() is not None or answers(port), 60, fleet.logs)
    assert fleet.processes[name].poll() is None, fleet.logs()
    return port


def answers(port):
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=60).ok
    except requests.RequestException:
        return False


@pytest.fixture
def fleet(migrated_servers, tmp_path):
    with fleet_on(migrated_servers, tmp_path, partitions=2) as fleet:
        yield fleet


def test_it_listens_on_both_loopback_addresses_writes_need_the_key_and_its_calls_are_measured(fleet, tmp_path):
    key = tmp_path / "key.txt"
    key.write_text("secret\n")
    metrics = Port()
    port = start(fleet, "--api-key-file", key, *metrics.options)
    if socket.has_ipv6:
        assert requests.get(f"http://[::1]:{port}/health", timeout=60).status_code == 200
    assert requests.get(f"http://localhost:{port}/api/processing/status", timeout=60).status_code == 200
    trigger = f"http://127.0.0.1:{port}/api/processing/trigger-manual"
    assert requests.post(trigger, timeout=60).status_code == 401
    assert requests.post(trigger, timeout=60, headers={"X-API-Key": "wrong"}).status_code == 401
    assert requests.post(trigger, timeout=60, headers={"X-API-Key": "secret"}).status_code == 200
    wait_for(lambda: metrics.get("/readyz")[0] == 200, 30)
    scraped = metrics.scrape()
    counted = "tickstock_request_duration_seconds_count"
    labels = {"route": "/api/processing/trigger-manual", "method": "POST"}
    assert scraped.value(counted, **labels, status="401") == 2
    assert scraped.value(counted, **labels, status="200") == 1


def test_sigterm_ends_who_listens_and_exits_0(fleet):
    port = start(fleet)
    with requests.get(f"http://127.0.0.1:{port}/events", stream=True, timeout=30) as stream:
        lines = stream.iter_lines(chunk_size=1)
        assert next(lines) == b": hello"
        assert fleet.stop("api", 20) == 0, fleet.logs()
        assert b"event" not in b"".join(lines)
    assert "Traceback" not in fleet.logs()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host", "0.0.0.0"], "other machines can reach 0.0.0.0: give --api-key-file or --open"),
        (["--api-key-file", os.devnull], "contains no key"),
    ],
)
def test_beyond_this_machine_only_with_a_key_or_when_it_is_said(tickstock, migrated_servers, options, says):
    ran = tickstock("api", *options, servers=migrated_servers)
    assert (ran.returncode, says in ran.stderr) == (2, True), ran.stderr


def test_a_port_that_is_taken_is_said(tickstock, migrated_servers):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ran = tickstock("api", "--port", str(port), servers=migrated_servers)
    assert ran.returncode == 1
    assert f"the API on 127.0.0.1 port {port}: Address already in use" in ran.stderr


@pytest.fixture
def hung(tmp_path):
    """Give a fleet on servers of its own, and a function that lets one of them hang; it returns what lets it go on."""
    with own_servers() as (folder, servers), fleet_on(servers, tmp_path, partitions=2) as fleet:
        stopped = []

        def send(number):
            for process in stopped:
                if process.is_running():
                    os.kill(process.pid, number)

        def hang(name):
            root = psutil.Process(getattr(read_state(folder), name).pid)
            stopped.extend([root, *root.children(recursive=True)])
            send(signal.SIGSTOP)
            return lambda: send(signal.SIGCONT)

        yield fleet, hang
        send(signal.SIGCONT)


def answered_before_others(timed, path, other):
    """Count the answers to one call until the first of many others, sent at the same time, has its own."""
    with ThreadPoolExecutor(12) as pool:
        others, answered = [pool.submit(timed, other) for _ in range(12)], 0
        while not any(one.done() for one in others):
            assert timed(path)[1].status_code == 200
            answered += 1
    return answered


@pytest.mark.parametrize(("name", "service"), [("postgres", "database"), ("valkey", "redis")])
def test_health_and_status_answer_at_once_while_a_server_hangs(hung, name, service):
    fleet, hang = hung
    url = f"http://127.0.0.1:{start(fleet)}"

    def timed(path):
        began_s = time.monotonic()
        answer = requests.get(url + path, timeout=10)
        return time.monotonic() - began_s, answer

    timed("/health")
    go_on = hang(name)
    if name == "postgres":
        assert answered_before_others(timed, "/api/processing/status", "/api/processing/history") >= 5
    for path in ("/health", "/api/processing/status"):
        took = [timed(path) for _ in range(15)]
        assert {answer.status_code for _, answer in took} == {200}
        assert statistics.median(seconds for seconds, _ in took) < 0.25, took
    wait_for(lambda: timed("/health")[1].json()["services"][service] == "unhealthy", 30, fleet.logs)
    if name == "postgres":
        _, refused = timed("/api/processing/history")
        assert (refused.status_code, list(refused.json())) == (503, ["message"])
        assert timed("/api/fleet")[1].status_code == 200
    go_on()
    healed = {"redis": "healthy", "database": "healthy", "api": "healthy"}
    wait_for(lambda: timed("/health")[1].json()["services"] == healed, 60, fleet.logs)
    assert timed("/api/processing/history")[1].json() == {"runs": []}
