"""Servers that are away, refuse a password, or do not fit: one clear line, and no secret in it."""

import socket
import threading
from urllib.parse import urlsplit

import pytest
import redis
from tickstockpl.contracts.settings import Servers


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_database_that_is_away_is_named_with_place_and_reason_and_waited_for(
    tickstock, migrated_servers, closed_port
):
    away = Servers(migrated_servers.redis_url, f"postgresql://me:secret@127.0.0.1:{closed_port}/bars")
    ran = tickstock("worker", "--connect-timeout-s", "0.5", servers=away)
    assert ran.returncode == 1
    waiting, error = ran.stderr.splitlines()
    assert "waiting for a server" in waiting
    for line in (waiting, error):
        assert f"PostgreSQL at 127.0.0.1:{closed_port}/bars: " in line
        assert "Connection refused" in line
    assert error.startswith("Error: ")
    assert "secret" not in ran.stderr


def test_a_redis_that_is_away_is_named_with_place_and_reason_and_waited_for(tickstock, migrated_servers, closed_port):
    away = Servers(f"redis://:secret@127.0.0.1:{closed_port}/0", migrated_servers.database_url)
    ran = tickstock("worker", "--connect-timeout-s", "0.5", servers=away)
    assert ran.returncode == 1
    waiting, error = ran.stderr.splitlines()
    assert "waiting for a server" in waiting
    for line in (waiting, error):
        assert f"Redis at 127.0.0.1:{closed_port}: " in line
        assert "Connection refused" in line
    assert "secret" not in ran.stderr


def test_a_server_that_comes_within_the_timeout_is_used(tickstock, migrated_servers, closed_port):
    there = urlsplit(migrated_servers.database_url)
    late = there._replace(netloc=f"{there.username}:{there.password}@127.0.0.1:{closed_port}").geturl()
    stop = threading.Event()
    forwarder = threading.Thread(target=forward_after_one_refusal, args=(closed_port, there, stop))
    forwarder.start()
    ran = tickstock("bars", "--format", "csv", servers=Servers(migrated_servers.redis_url, late))
    stop.set()
    forwarder.join()
    assert ran.stdout.splitlines() == ["symbol,timestamp,open,high,low,close,volume,trade_count,vwap,provenance"]
    assert ran.stderr.endswith("no bars\n")
    assert ran.stderr.count("waiting for a server") == 1


def forward_after_one_refusal(port, there, stop):
    """Listen on a port: hang up on the first caller, connect the next ones with the database."""
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(0.05)
        pumps, callers = [], 0
        while not stop.is_set():
            try:
                caller, _ = server.accept()
            except TimeoutError:
                continue
            callers += 1
            if callers == 1:
                caller.close()
                continue
            onward = socket.create_connection((there.hostname, there.port))
            pumps += [threading.Thread(target=pump, args=pair) for pair in ((caller, onward), (onward, caller))]
            for thread in pumps[-2:]:
                thread.start()
        for thread in pumps:
            thread.join()


def pump(source, target):
    with source, target:
        try:
            while piece := source.recv(65_536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgres//me:secret@host/bars", "the database address cannot be read"),
        ("postgresql://me:secret@127.0.0.1:port/bars", "PostgreSQL at"),
        ("postgresql://me:secret@host/bars?sslmod=x", 'cannot be read (invalid URI query parameter: "sslmod")'),
        ("postgresql://host/bars?password=the&secret=1", "cannot be read: postgresql://"),
        ("postgresql://me:word@127.0.0.1/bars?sslmode=secrets", "invalid sslmode value"),
    ],
)
def test_a_database_address_that_cannot_be_read_is_refused_without_its_secrets(tickstock, migrated_servers, url, said):
    ran = tickstock("bars", "--connect-timeout-s", "0", servers=Servers(migrated_servers.redis_url, url))
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "secret" not in ran.stderr.replace("secrets", "")


@pytest.mark.parametrize("url", ["http://:secret@host:6379", "redis://:secret/more@host:6379/0"])
def test_a_redis_address_that_cannot_be_read_is_refused_without_its_secrets(tickstock, migrated_servers, url):
    ran = tickstock("worker", servers=Servers(url, migrated_servers.database_url))
    assert ran.returncode == 2
    assert ran.stderr.startswith("Error: the Redis address cannot be read")
    assert "secret" not in ran.stderr


def test_a_wrong_password_is_refused_at_once(tickstock, migrated_servers):
    database = urlsplit(migrated_servers.database_url)
    if database.password is None:
        pytest.skip("TICKSTOCK_TEST_DATABASE_URL names a server that asks for no password")
    wrong = database._replace(netloc=f"{database.username}:wrong@{database.hostname}:{database.port}").geturl()
    ran = tickstock("bars", servers=Servers(migrated_servers.redis_url, wrong))
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert "password authentication failed" in line


def test_a_redis_that_evicts_whole_streams_is_refused_with_what_to_do(tickstock, migrated_servers):
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            ran = tickstock("worker", servers=migrated_servers)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert "maxmemory-policy allkeys-lru" in line
    assert line.endswith("set `maxmemory-policy noeviction`")


@pytest.mark.parametrize("given", ["REDIS_URL", "DATABASE_URL"])
def test_only_one_of_the_two_servers_is_refused(tickstock, given):
    ran = tickstock("bars", **{given: "redis://x" if given == "REDIS_URL" else "postgresql://x"})
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"Error: {given} is set but no ")


def test_no_server_at_all_is_refused_where_embedded_ones_are_not_wanted(tickstock):
    ran = tickstock("bars", "--embedded", "never")
    assert ran.returncode == 2
    assert ran.stderr == ("Error: no server is set: set REDIS_URL and DATABASE_URL, or leave out --embedded never\n")
