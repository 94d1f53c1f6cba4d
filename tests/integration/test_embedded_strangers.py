"""What another user of the same host can do with embedded servers: connect, and be refused."""

import os
import shutil
import socket
import subprocess
import threading

import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tickstockpl.ops.embedded.folder import read_state
from tickstockpl.ops.embedded.servers import embedded_servers
from tickstockpl.ops.wiring.servers import REQUIRE_SCRAM, place

from ..conftest import reachable_folder

STRANGER = 54_321  # a user id that owns nothing here
ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can try it as another user")


@pytest.fixture(scope="module")
def folder():
    path = reachable_folder()
    with embedded_servers(path, log=lambda _: None):
        yield path
    shutil.rmtree(path)


def as_stranger(*command):
    return subprocess.run(
        command, user=STRANGER, group=STRANGER, extra_groups=[], cwd="/", check=False, capture_output=True, text=True
    )


@ONLY_ROOT
def test_another_user_reads_no_file_of_the_data_folder_and_does_not_see_what_there_is(folder):
    assert as_stranger("ls", str(folder)).returncode != 0
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "valkey.pid"]
    assert len(files) > 100  # PostgreSQL's among them
    shell = (
        'for file; do (exec <"$file") 2>/dev/null && echo "$file"; (exec >>"$file") 2>/dev/null && echo "$file"; done'
    )
    assert as_stranger("/bin/sh", "-c", shell, "sh", *map(str, files)).stdout == ""


@ONLY_ROOT
def test_another_user_makes_no_file_in_the_data_folder(folder):
    for place_ in (folder, folder / "valkey", folder / "postgres"):
        assert as_stranger("touch", str(place_ / "planted")).returncode != 0
        assert not (place_ / "planted").exists()


def test_valkey_answers_nothing_before_the_password_is_said(folder):
    state = read_state(folder)
    calls = ("PING", "INFO", "GET x", "CONFIG GET *", "SUBSCRIBE x", "PUBLISH x y", "FLUSHALL", "SHUTDOWN", "MONITOR")
    calls += (
        "XADD tickstock-stream * a b",
        "EVAL return 0",
        "REPLICAOF no one",
        "CLIENT LIST",
        "ACL WHOAMI",
        "DEBUG x",
    )
    for login in ({}, {"password": "x"}, {"username": "default", "password": ""}):
        for call in calls:
            with (
                redis.Redis(port=state.valkey.port, retry=Retry(NoBackoff(), 0), **login) as client,
                pytest.raises(redis.AuthenticationError),
            ):
                client.execute_command(*call.split())


@pytest.mark.parametrize("user", ["tickstock", "postgres", "nobody"])
@pytest.mark.parametrize("password", ["", "x"])
def test_postgresql_lets_nobody_in_without_the_password(folder, user, password):
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(
            host="127.0.0.1", port=read_state(folder).postgres.port, user=user, password=password, dbname="tickstock"
        )


def test_the_servers_listen_on_the_loopback_alone_and_on_no_socket_file(folder):
    state = read_state(folder)
    for record in (state.valkey, state.postgres):
        connections = psutil.Process(record.pid).net_connections("all")
        listening = {c.laddr for c in connections if c.status == psutil.CONN_LISTEN}
        assert listening == {("127.0.0.1", record.port)}
        assert [c for c in connections if c.family == socket.AF_UNIX and c.laddr] == []


def test_the_processes_show_no_password(folder):
    state = read_state(folder)
    for record in (state.valkey, state.postgres):
        process = psutil.Process(record.pid)
        shown = " ".join([*process.cmdline(), *process.environ().values()])
        assert state.valkey.password not in shown
        assert state.postgres.password not in shown


def test_who_takes_the_port_of_a_valkey_that_is_down_does_not_learn_the_password_of_the_next_one():
    folder = reachable_folder()
    try:
        with embedded_servers(folder, log=lambda _: None):
            before = read_state(folder)
        with (
            socket.create_server(("127.0.0.1", before.valkey.port)),
            embedded_servers(folder, log=lambda _: None) as new,
        ):
            after = read_state(folder)
            assert after.valkey.port != before.valkey.port
            assert after.valkey.password != before.valkey.password
            with redis.Redis.from_url(new.redis_url) as client:
                assert client.ping()
            assert after.postgres.password == before.postgres.password  # which SCRAM does not tell
    finally:
        shutil.rmtree(folder)


def test_who_pretends_to_be_postgresql_is_not_told_the_password(monkeypatch):
    for name in ("REDIS_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    folder = reachable_folder()
    try:
        with place(folder, embedded=True, connect_timeout_s=60) as where:
            assert where.servers.database_url.endswith(REQUIRE_SCRAM)
            psycopg.connect(where.servers.database_url).close()
            password = read_state(folder).postgres.password
            heard, url = pretend(where.servers.database_url, read_state(folder).postgres.port)
            with pytest.raises(psycopg.OperationalError, match="cleartext"):
                psycopg.connect(url, connect_timeout=10)
            assert password.encode() not in heard()
            # Without it, it would be: so the test itself is right.
            heard, url = pretend(
                where.servers.database_url.removesuffix(REQUIRE_SCRAM), read_state(folder).postgres.port
            )
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(url, connect_timeout=10)
            assert password.encode() in heard()
    finally:
        shutil.rmtree(folder)


def pretend(url, port):
    """Stand in for the server of a URL once: ask for the password in clear. Return what was heard, and the URL."""
    server = socket.create_server(("127.0.0.1", 0))
    said = bytearray()

    def serve():
        with server, server.accept()[0] as client:
            client.settimeout(10)
            first = client.recv(4096)
            if first[4:8] == b"\x04\xd2\x16\x2f":  # may we speak TLS?
                client.sendall(b"N")
                first = client.recv(4096)
            client.sendall(b"R\0\0\0\x08\0\0\0\x03")  # AuthenticationCleartextPassword
            said.extend(client.recv(4096))

    thread = threading.Thread(target=serve)
    thread.start()

    def heard():
        thread.join(30)
        return bytes(said)

    return heard, url.replace(f":{port}/", f":{server.getsockname()[1]}/")
