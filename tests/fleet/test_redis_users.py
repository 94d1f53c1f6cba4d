"""The users of ops/redis/users.acl on a real server: each role does its work, and who lacks a right is told which."""

import secrets
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
import redis
import requests
from ports import free_port
from redis.cluster import ClusterNode, RedisCluster
from tickstockpl.contracts.errors import SetupError
from tickstockpl.contracts.names import FRONT_DOOR, HEARTBEAT, results_key, stream_key
from tickstockpl.contracts.redis_rights import RIGHTS
from tickstockpl.contracts.settings import Servers
from tickstockpl.db.redis import connect
from tickstockpl.ops.embedded.programs import valkey_program
from tickstockpl.ops.secrets.redis_acl import USERS, users_acl
from tickstockpl.ops.wiring.redis_refusals import require_rights

from .fleet import assert_ledger_balances, assert_same_bars, fleet_on, recount, wait_for, wait_until_detected
from .redis_nodes import HOST, nodes, start_cluster

USERS_FILE = Path(__file__).parents[2] / "ops" / "redis" / "users.acl"
PARTITIONS = 3
PATTERNS = "tickstock:patterns:streaming"


class Valkey:
    """A server with the users of a file, and one of the test's own that may everything."""

    def __init__(self, folder, tickstock):
        self.port = free_port()
        self.words = {name: secrets.token_hex(8) for name in ("test", *USERS)}
        files = []
        for name in USERS:
            (folder / name).write_text(f"{self.words[name]}\n")
            files += ["--password-file", f"{name}={folder / name}"]
        printed = tickstock("redis-acl", *files)
        assert printed.returncode == 0, printed.stderr
        acl = folder / "users.acl"
        acl.write_text(f"{printed.stdout}user test on >{self.words['test']} ~* &* +@all\n")
        command = [valkey_program(), "--port", str(self.port), "--bind", "127.0.0.1", "--aclfile", str(acl)]
        self._process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "yes"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self.admin = redis.Redis.from_url(self.url("test"))
        wait_for(self.admin.ping, 10, "valkey")

    def url(self, name):
        return f"redis://{name}:{self.words[name]}@127.0.0.1:{self.port}/0"

    def give(self, role):
        """Give a user its role's rights, and no other."""
        self.admin.execute_command("ACL", "SETUSER", role, *RIGHTS[role].acl_rules().split())

    def close(self):
        self.admin.close()
        self._process.terminate()
        self._process.wait(60)


@pytest.fixture(scope="module")
def valkey(tmp_path_factory, tickstock):
    server = Valkey(tmp_path_factory.mktemp("valkey"), tickstock)
    yield server
    server.close()


@pytest.fixture
def on_users(valkey, migrated_servers):
    """Give a function that returns the servers as a user sees them, with an empty Redis and every right."""
    valkey.admin.flushall()
    valkey.admin.acl_log_reset()
    for role in RIGHTS:
        valkey.give(role)
    return lambda name: Servers(valkey.url(name), migrated_servers.database_url)


def test_the_committed_file_is_what_the_command_prints_without_passwords():
    assert USERS_FILE.read_text() == users_acl({})


def test_a_user_without_a_password_cannot_log_in(tmp_path):
    port = free_port()
    command = [valkey_program(), "--port", str(port), "--aclfile", str(USERS_FILE), "--save", ""]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: "Authentication" in refusal(connect(f"redis://127.0.0.1:{port}").ping), 10, "valkey")
        for login in ("", ":x@", *(f"{name}:{word}@" for name in USERS for word in ("", "x"))):
            assert refusal(connect(f"redis://{login}127.0.0.1:{port}").ping).startswith("Authentication"), login
    finally:
        process.terminate()
        process.wait(60)


def test_the_administrator_changes_a_password_for_good(valkey):
    with closing(redis.Redis.from_url(valkey.url("admin"))) as admin:
        admin.execute_command("ACL", "SETUSER", "replica", ">another")
        admin.execute_command("ACL", "SAVE")
        admin.execute_command("ACL", "LOAD")
    changed = valkey.url("replica").replace(valkey.words["replica"], "another")
    assert refusal(connect(changed).ping) == refusal(connect(valkey.url("replica")).ping) == ""
    assert "NoPermission" in refusal(lambda: valkey_of(valkey.url("operator"), "ACL", "SAVE"))


def valkey_of(url, *command):
    """Send a command as a user."""
    with closing(redis.Redis.from_url(url)) as client:
        return client.execute_command(*command)


def refusal(call):
    try:
        call()
    except (redis.RedisError, SetupError) as e:
        return f"{type(e).__name__} {e}"
    return ""


def test_each_role_as_its_own_user_makes_exact_bars_and_is_refused_nothing(on_users, valkey, tmp_path, trades):
    file, _ = trades
    application = redis.Redis.from_url(valkey.url("application"), decode_responses=True)
    heard = application.pubsub(ignore_subscribe_messages=True)
    heard.subscribe(PATTERNS)
    messages = []
    with fleet_on(on_users("test"), tmp_path, partitions=PARTITIONS) as fleet:
        fleet.let_dojis_stand_anywhere()
        fleet.start_worker("worker", "--commit-ms", 50, servers=on_users("worker"))
        fleet.start("bridge", "bridge", "--name", "b1", servers=on_users("bridge"))
        fleet.start("jobs", "jobs", servers=on_users("jobs"))
        fleet.start("api", "api", "--port", api_port := free_port(), servers=on_users("api"))
        fleet.start_replay("producer", [file], "--publish", servers=on_users("producer"))
        assert fleet.exit_code("producer", 40) == 0, fleet.logs()
        application.xadd(FRONT_DOOR, {"symbol": "IBM", "price": "1", "volume": "0", "timestamp": str(time.time())})
        application.xadd(FRONT_DOOR, {"data": "no tick"})
        wait_until_detected(fleet)
        wait_for(lambda: messages.append(heard.get_message(timeout=0.1)) or any(messages), 20, "a pattern")
        wait_for(lambda: application.get(HEARTBEAT), 10, "the heartbeat")
        wait_for(lambda: valkey.admin.xlen("tickstock-dlq") == 1, 20, lambda: f"the dead letter\n{fleet.logs()}")
        wait_for(lambda: application.xread({results_key(0): 0}, count=1), 20, lambda: f"results\n{fleet.logs()}")
        api = f"http://127.0.0.1:{api_port}/api"
        wait_for(lambda: requests.get(f"{api}/fleet", timeout=60).ok, 60, lambda: f"the fleet\n{fleet.logs()}")

        def start_run():  # PostgreSQL may not answer in time on a busy machine: then the API says 503
            said = requests.post(f"{api}/processing/trigger-manual", json={"skip_market_check": True}, timeout=60)
            return said.status_code != 503 and said

        run = wait_for(start_run, 60, lambda: f"a run\n{fleet.logs()}")
        assert run.ok, run.text
        is_over = "SELECT ended_at IS NOT NULL FROM run"
        wait_for(lambda: fleet.rows(is_over) == [(True,)], 60, lambda: f"the end of the run\n{fleet.logs()}")
        assert [fleet.stop(name) for name in ("worker", "bridge", "jobs", "api")] == [0] * 4, fleet.logs()
        assert_same_bars(fleet.bars(), recount(file))
        assert [row.gap for row in fleet.ledger()] == [0] * len(fleet.ledger())
    assert [entry["object"] for entry in valkey.admin.acl_log() if entry["username"] != "application"] == []


def test_a_fleet_among_strangers_is_refused_nothing(on_users, valkey, tmp_path, tickstock):
    """Each path that only bad input opens: new ids, large replies, keys of another type, a door that is taken over."""
    application = redis.Redis.from_url(valkey.url("application"))
    ahead, partition, other = f"{2**60}-0", stream_key(0), stream_key(1)
    letters = "SELECT count(*) FROM dead_letter"
    with fleet_on(on_users("test"), tmp_path, partitions=PARTITIONS) as fleet:

        def knock(symbol, **fields):
            said = {"symbol": symbol, "price": "1", "volume": "1", "timestamp": str(time.time())}
            application.xadd(FRONT_DOOR, said | fields)

        def counted(what):
            return sum(getattr(row, what) for row in fleet.ledger())

        def start(name):
            fleet.start_worker(name, "--commit-ms", 50, servers=on_users("worker"))
            wait_for(lambda: fleet.owners() == {name: PARTITIONS}, 30, lambda: f"{name}\n{fleet.logs()}")

        start("first")
        fleet.start("bridge", "bridge", "--name", "b1", servers=on_users("bridge"))
        wait_for(lambda: application.get(HEARTBEAT), 30, lambda: f"the heartbeat\n{fleet.logs()}")
        knock("IBM", exchange="4", trade_id="11")
        wait_for(lambda: counted("applied") == 1, 30, lambda: f"a tick\n{fleet.logs()}")
        application.xadd(FRONT_DOOR, {"data": "chosen"}, id=ahead)
        valkey.admin.xadd(partition, {"f": "chosen"}, id=ahead)
        for _ in range(5):
            valkey.admin.xadd(other, {"f": bytes(9 << 20)})
        valkey.admin.xadd(FRONT_DOOR, {"data": bytes(40 << 20)})
        application.publish("tickstock:monitoring:control", '{"action": "force_health_check"}')
        wait_for(lambda: counted("refused") >= 2, 60, lambda: f"what is refused\n{fleet.logs()}")
        wait_for(lambda: fleet.rows(letters) == [(8,)], 60, lambda: f"{fleet.rows(letters)} letters\n{fleet.logs()}")
        valkey.admin.rename(partition, "elsewhere")
        valkey.admin.set(partition, "x")
        wait_for(lambda: "holds a string" in fleet.logs(), 30, lambda: f"the foreign key\n{fleet.logs()}")
        valkey.admin.delete(partition)
        assert fleet.stop("first") == 0, fleet.logs()
        start("second")
        knock("IBM", exchange="4", trade_id="11")
        wait_for(lambda: counted("repeated") == 1, 60, lambda: f"the repeat\n{fleet.logs()}")
        for command in (("status",), ("dlq", "ls"), ("audit",), ("doctor", "--role", "operator")):
            ran = tickstock(*command, servers=on_users("operator"))
            assert "NOPERM" not in ran.stdout + ran.stderr, (command, ran)
            assert "may not" not in ran.stdout + ran.stderr, (command, ran)
        assert [fleet.stop(name) for name in ("second", "bridge")] == [0, 0], fleet.logs()
    assert [entry["object"] for entry in valkey.admin.acl_log() if entry["username"] != "application"] == []


def test_who_only_reads_may_not_write(on_users, valkey):
    on_users("test")
    for name, key in (("application", results_key(0)), ("bridge", stream_key(0)), ("bridge", FRONT_DOOR)):
        with connect(valkey.url(name)) as client:
            assert refusal(lambda client=client, key=key: client.xadd(key, {"f": "x"})).startswith("NoPermission"), name


@pytest.mark.slow
def test_a_replica_and_sentinels_look_work_with_their_users(valkey, tmp_path):
    port = free_port()
    command = [valkey_program(), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    follow = ["--replicaof", "127.0.0.1", str(valkey.port), "--masteruser", "replica"]
    word = ["--masterauth", valkey.words["replica"]]
    process = subprocess.Popen([*command, *follow, *word], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        replica = redis.Redis(port=port)
        wait_for(lambda: replica.info("replication")["master_link_status"] == "up", 20, "replication")
        with connect(valkey.url("sentinel")) as sentinel:
            assert sentinel.info("replication")["connected_slaves"] == 1
            assert sentinel.execute_command("ROLE")[0] == b"master"
            assert sentinel.publish("__sentinel__:hello", "x") == 0
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.slow
def test_each_role_works_on_a_cluster(migrated_servers, tmp_path, trades):
    file, ticks = trades
    logs = tmp_path / "logs"
    logs.mkdir()
    word = secrets.token_hex(8)
    with nodes() as started:
        heads, _, url = start_cluster(tmp_path, started)
        for node in started:
            for role, rights in RIGHTS.items():
                rules = rights.acl_rules(cluster=True).split()
                node.client.execute_command("ACL", "SETUSER", role, "on", f">{word}", *rules)
        startup = [ClusterNode(HOST, node.port) for node in heads]
        servers = {
            role: Servers(url.replace("//", f"//{role}:{word}@"), migrated_servers.database_url) for role in RIGHTS
        }
        with (
            closing(RedisCluster(startup_nodes=startup)) as client,
            fleet_on(Servers(url, migrated_servers.database_url), logs, client=client) as fleet,
        ):
            fleet.start_worker("worker", servers=servers["worker"])
            fleet.start("bridge", "bridge", "--name", "b1", servers=servers["bridge"])
            fleet.start_replay("producer", [file], "--publish", servers=servers["producer"])
            assert fleet.exit_code("producer", 90) == 0, fleet.logs()
            wait_for(lambda: client.get(HEARTBEAT), 30, fleet.logs)
            assert_same_bars(fleet.bars(), recount(file))
            assert_ledger_balances(fleet, ticks)
        assert [entry["object"] for node in started for entry in node.client.acl_log()] == []


PROGRAMS = {
    "worker": ("worker", "--consumer", "w1"),
    "bridge": ("bridge", "--name", "b1"),
    "producer": ("producer", "--source", "synthetic", "--speed", "1x", "--rate", "50"),
}


@pytest.mark.parametrize(
    ("role", "taken", "named"),
    [
        ("worker", "-xdel", "XDEL tickstock-stream"),
        pytest.param("worker", "-info", "'info'", marks=pytest.mark.slow),
        pytest.param("bridge", "-publish", "PUBLISH tickstock:streaming:health", marks=pytest.mark.slow),
        pytest.param("producer", "-xgroup|create", "XGROUP CREATE tickstock-stream:{p0}", marks=pytest.mark.slow),
    ],
)
def test_a_missing_right_is_named_at_the_start(on_users, valkey, tmp_path, role, taken, named):
    with fleet_on(on_users("test"), tmp_path, partitions=PARTITIONS) as fleet:
        valkey.admin.execute_command("ACL", "SETUSER", role, taken)
        fleet.start(role, *PROGRAMS[role], servers=on_users(role))
        assert fleet.exit_code(role, 30) == 1
        assert_refused(fleet.log_file(role).read_text(), named, valkey)


@pytest.mark.parametrize(
    ("role", "taken", "named"),
    [
        ("worker", "-xreadgroup", "XREADGROUP tickstock-stream:{p0}: ACL SETUSER worker +xreadgroup"),
        pytest.param("bridge", "resetchannels", "PUBLISH tickstock:streaming:health", marks=pytest.mark.slow),
        pytest.param("producer", "resetkeys", "~tickstock-stream*", marks=pytest.mark.slow),
    ],
)
def test_a_right_that_is_taken_away_later_is_named_too(on_users, valkey, tmp_path, role, taken, named):
    with fleet_on(on_users("test"), tmp_path, partitions=PARTITIONS) as fleet:
        fleet.start("other worker", *PROGRAMS["worker"][:2], "w0", servers=on_users("test"))
        fleet.start(role, *PROGRAMS[role], servers=on_users(role))
        works = {
            "worker": lambda: len(fleet.owners()) == 2,
            "bridge": lambda: valkey.admin.get(HEARTBEAT),
            "producer": lambda: valkey.admin.xlen(stream_key(0)),
        }
        wait_for(works[role], 30, lambda: f"{role} at work\n{fleet.logs()}")
        valkey.admin.execute_command("ACL", "SETUSER", role, taken)
        assert fleet.exit_code(role, 30) == 1
        assert_refused(fleet.log_file(role).read_text(), named, valkey)


@pytest.mark.slow
def test_a_letter_that_may_not_be_told_ends_the_worker(on_users, valkey, tmp_path):
    with fleet_on(on_users("test"), tmp_path, partitions=PARTITIONS) as fleet:
        fleet.start_worker("worker", servers=on_users("worker"))
        wait_for(lambda: fleet.owners() == {"worker": PARTITIONS}, 30, lambda: f"the worker\n{fleet.logs()}")
        keys = [f"~{key}" for key in RIGHTS["worker"].keys if key != "tickstock-dlq"]
        valkey.admin.execute_command("ACL", "SETUSER", "worker", "resetkeys", *keys)
        valkey.admin.xadd(FRONT_DOOR, {"data": "no tick"})
        assert fleet.exit_code("worker", 30) == 1
        assert_refused(fleet.log_file("worker").read_text(), "ACL SETUSER worker ~tickstock-dlq", valkey)


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        *(
            pytest.param(command, marks=pytest.mark.slow)
            for command in (
                ("doctor", "--role", "operator"),
                ("audit",),
                ("dlq", "requeue", "--all"),
                ("watch", "--seconds", "0.1"),
                ("contract", "--seconds", "0.1"),
                ("publish-test-pattern",),
            )
        ),
    ],
)
def test_the_commands_for_people_work_as_operator(on_users, valkey, tickstock, command):
    ran = tickstock(*command, servers=on_users("operator"))
    assert "NOPERM" not in ran.stderr
    assert "permissions" not in ran.stdout + ran.stderr
    assert [entry["object"] for entry in valkey.admin.acl_log()] == []


@pytest.mark.parametrize("role", ["worker", "bridge", "producer", "operator"])
def test_each_right_of_a_role_is_asked_for(valkey, role):
    def refusal_without(rule):
        valkey.give(role)
        valkey.admin.execute_command("ACL", "SETUSER", role, *rule)
        client = connect(valkey.url(role))
        try:
            return refusal(lambda: require_rights(client, valkey.url(role), role))
        finally:
            client.close()

    rights = RIGHTS[role]
    assert refusal_without(()) == ""
    rules = rights.acl_rules()
    for selector in rights.selectors:
        rest = rules.replace(f" {selector.rule}", "").split()
        assert f" {selector.rule} " in refusal_without(rest), selector
    for command in sorted({*rights.commands} - {"multi", "exec", "discard", "info"}):
        assert f"+{command}" in refusal_without((f"-{command}",)), command
    for kind, patterns in (("~", rights.keys), ("&", rights.channels)):
        for left_out in patterns:
            rest = [f"{kind}{pattern}" for pattern in patterns if pattern != left_out]
            reset = "resetkeys" if kind == "~" else "resetchannels"
            rule = rights.key_rule(left_out) if kind == "~" else f"&{left_out}"
            assert f" {rule} " in refusal_without((reset, *rest)), left_out


def test_a_command_for_people_names_what_its_user_lacks(on_users, valkey, tickstock):
    valkey.admin.execute_command("ACL", "SETUSER", "operator", "-xlen")
    ran = tickstock("status", servers=on_users("operator"))
    assert ran.returncode == 1
    assert_refused(ran.stderr, "ACL SETUSER operator +xlen (", valkey)


def assert_refused(said, named, valkey):
    last = said.strip().splitlines()[-1]
    assert last.startswith("Error: Redis at 127.0.0.1:"), said
    assert named in last, said
    assert "Traceback" not in said
    assert not any(word in said for word in valkey.words.values())
