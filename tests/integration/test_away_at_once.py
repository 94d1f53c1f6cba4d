"""`tickstock status` says at once that a server is away: also embedded ones, one that hangs, and as JSON."""

import json
import os
import signal
import socket
import time

import pytest
from conftest import own_servers
from tickstockpl.contracts.settings import Servers
from tickstockpl.ops.embedded.folder import read_state
from tickstockpl.ops.embedded.servers import servers_to_look_at
from tickstockpl.ops.process.server_probe import away_servers


@pytest.fixture
def deaf():
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def embedded():
    with own_servers() as (folder, servers):
        yield folder, servers


@pytest.fixture
def hanging(embedded):
    """Give a function that makes one of the embedded servers hang, until the end."""
    folder, _ = embedded
    stopped = []

    def hang(name):
        pid = getattr(read_state(folder), name).pid
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)

    yield hang
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)


def test_two_servers_that_say_nothing_are_known_in_the_time_of_one(deaf):
    servers = Servers(f"redis://127.0.0.1:{deaf}/0", f"postgresql://u:p@127.0.0.1:{deaf}/x")
    began_s = time.monotonic()
    found = away_servers(servers, within_s=1.0)
    assert found == {"postgresql": "no answer within 1 s", "redis": "no answer within 1 s"}
    assert time.monotonic() - began_s < 1.9


def test_servers_that_answer_are_not_away(migrated_servers):
    assert away_servers(migrated_servers, within_s=60) == {}


@pytest.mark.parametrize(("name", "code"), [("valkey", "REDIS_AWAY"), ("postgres", "DATABASE_AWAY")])
def test_an_embedded_server_that_hangs_is_a_finding_as_json(embedded, hanging, tickstock, name, code):
    hanging(name)
    ran = tickstock("status", "--json", "--data-dir", embedded[0])
    assert ran.returncode == 1, ran.stderr
    found = json.loads(ran.stdout)
    assert (found["healthy"], [one["code"] for one in found["findings"]]) == (False, [code])


def test_embedded_servers_that_hang_are_given_at_once_to_who_looks(embedded, hanging):
    folder, servers = embedded
    for name in ("valkey", "postgres"):
        hanging(name)
    began_s = time.monotonic()
    with servers_to_look_at(folder, log=lambda _: None) as found:
        assert found == servers
    assert time.monotonic() - began_s < 2


def test_an_embedded_server_that_does_not_start_is_a_finding(embedded_folder_without_a_program, tickstock):
    folder, environment = embedded_folder_without_a_program
    ran = tickstock("status", "--json", "--data-dir", folder, **environment)
    assert ran.returncode == 1
    (finding,) = json.loads(ran.stdout)["findings"]
    assert finding["code"] == "REDIS_AWAY"
    assert "valkey" in finding["message"]


@pytest.fixture
def embedded_folder_without_a_program(make_reachable_folder, tmp_path):
    """A data folder, and an environment in which its Valkey ends at once."""
    program = tmp_path / "valkey"
    program.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 1\n")
    program.chmod(0o755)
    return make_reachable_folder(), {"TICKSTOCK_REDIS_SERVER": str(program)}
