"""Programs that know no password: by a login beside Redis, or by a Redis whose `default` is the application."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from ports import free_port
from tickstockpl.contracts.names import FRONT_DOOR
from tickstockpl.db.look.redis_replay import replay_of
from tickstockpl.ops.embedded.programs import valkey_program
from tickstockpl.ops.secrets.redis_acl import users_acl

BIN = Path(sys.executable).parent
PASSWORDS = {"application": b"of the application", "operator": b"of the operator"}


@pytest.fixture
def start_redis(tmp_path, wait_for):
    """Give a function that starts a Redis with some users; it returns its port."""
    running = []

    def start(**how):
        acl, port = tmp_path / "users.acl", free_port()
        acl.write_text(users_acl(PASSWORDS, **how))
        command = [valkey_program(), "--port", str(port), "--aclfile", str(acl), "--appendonly", "yes", "--save", ""]
        running.append(subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        wait_for(lambda: answers(port))
        return port

    yield start
    for process in running:
        process.terminate()
        process.wait(60)


def answers(port):
    try:
        return redis.Redis(port=port, username="operator", password=PASSWORDS["operator"].decode()).ping()
    except redis.exceptions.ConnectionError:
        return False


@contextmanager
def login_beside(port, *, password="of the application"):
    """Start `tickstock application-login`; yield the port where it listens."""
    environment = {"PATH": os.defpath, "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(port), "REDIS_PASSWORD": password}
    command = [BIN / "tickstock", "application-login", "--port", "0"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield int(re.fullmatch(r"listens on 127\.0\.0\.1:(\d+)\n", process.stdout.readline()).group(1))
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def assert_has_the_rights_of_the_application(client):
    assert client.xadd(FRONT_DOOR, {"data": "{}"})
    for call in (
        lambda: client.xrange(FRONT_DOOR),
        lambda: client.set("any", "1"),
        lambda: client.publish("tickstock.events.patterns", "{}"),
        client.flushall,
        lambda: client.acl_setuser("default", enabled=True),
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            call()


def test_who_knows_no_password_is_the_application_and_redis_stays_closed(start_redis):
    port = start_redis()
    with login_beside(port) as open_port, redis.Redis(port=open_port) as client:
        assert_has_the_rights_of_the_application(client)
        with client.pubsub() as heard:
            heard.subscribe("tickstock:errors")
            assert heard.get_message(timeout=60)["type"] == "subscribe"
        with pytest.raises(redis.exceptions.AuthenticationError):
            redis.Redis(port=port).ping()


def test_long_replies_come_whole_to_many_connections_at_once(start_redis):
    port, text = start_redis(), "x" * 1_000_000
    with login_beside(port) as open_port:
        clients = [redis.Redis(port=open_port) for _ in range(50)]
        for client in clients:
            client.connection = client.connection_pool.get_connection()
            client.connection.send_command("PING", text)
        assert {client.connection.read_response() for client in clients} == {text.encode()}
        for client in clients:
            client.connection.disconnect()
            client.close()


def test_a_refused_login_and_a_redis_that_is_away_are_told(start_redis):
    assert_told(start_redis(), password="another")
    assert_told(free_port())


def assert_told(port, **how):
    with (
        login_beside(port, **how) as open_port,
        redis.Redis(port=open_port) as client,
        pytest.raises(redis.exceptions.ResponseError, match="login to Redis failed"),
    ):
        client.ping()


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        (
            ["--host", "0.0.0.0"],
            {"REDIS_URL": "redis://:x@127.0.0.1"},
            "other machines can reach it without a password",
        ),
        ([], {}, "no Redis is set: set REDIS_URL, or REDIS_HOST and REDIS_PASSWORD"),
        ([], {"REDIS_URL": "redis://127.0.0.1"}, "the address of Redis has no password"),
        ([], {"REDIS_URL": "rediss://:x@127.0.0.1"}, "one server, without TLS"),
    ],
)
def test_what_it_cannot_do_is_refused_at_the_start(tickstock, options, environment, said):
    ran = tickstock("application-login", *options, **environment)
    assert ran.returncode == 2
    assert said in ran.stderr


def test_a_redis_whose_default_is_the_application(start_redis):
    port = start_redis(application_without_password=True)
    with redis.Redis(port=port) as client:
        assert_has_the_rights_of_the_application(client)
    with redis.Redis(port=port, username="operator", password=PASSWORDS["operator"].decode()) as operator:
        assert replay_of(operator) == "drops"  # which status and doctor say


def test_the_option_says_what_it_costs(tickstock):
    ran = tickstock("redis-acl", "--application-without-password")
    first, *others = ran.stdout.splitlines()
    (application,) = (line for line in others if line.startswith("user application on "))
    assert first == application.replace("user application on ", "user default on nopass ")
    assert others == users_acl({}).splitlines()[1:]
    assert "Keep protected-mode on" in ran.stderr
    assert "REDIS_FORGETS" in ran.stderr
