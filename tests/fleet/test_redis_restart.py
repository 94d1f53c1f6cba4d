"""A Redis that is started again under the users' file has what it had, and PostgreSQL tells where it has not."""

import secrets
import subprocess
from contextlib import closing, contextmanager

import pytest
import redis
from ports import free_port
from redis_programs import KINDS, program_of
from structlog.testing import capture_logs
from tickstockpl.contracts.names import BRIDGE_EPOCH, GROUP, bridge_seq_key, flow_key, results_key, stream_key
from tickstockpl.contracts.settings import Servers
from tickstockpl.db.look.redis_replay import replay_of
from tickstockpl.db.publisher import Publisher
from tickstockpl.db.redis import connect
from tickstockpl.db.streams.frame_stream import Send, send
from tickstockpl.ops.doctor.redis import check_redis
from tickstockpl.ops.secrets.redis_acl import USERS, users_acl
from tickstockpl.ops.wiring.servers import Place, open_redis

from .fleet import wait_for

FORMER_DEFAULT = "user default off resetkeys resetchannels -@all"  # until these tests were written


class Server:
    """A Redis with the users' file and an append-only file, that is ended and started again."""

    def __init__(self, program, folder, *, default=None):
        self._program, self._folder = program, folder
        self.port = free_port()
        self.words = {name: secrets.token_hex(8) for name in USERS}
        text = users_acl({name: word.encode() for name, word in self.words.items()})
        if default is not None:
            text = default + "\n" + text.partition("\n")[2]
        (folder / "users.acl").write_text(text)
        self.start()

    def start(self):
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--aclfile", "users.acl"]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._program, *where, "--save", "", "--appendonly", "yes"],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.admin = self.client("admin")
        wait_for(self.admin.ping, 30, lambda: (self._folder / "log").read_text()[-2000:])

    def client(self, user):
        return redis.Redis(port=self.port, username=user, password=self.words[user], protocol=2)

    def end(self, how):
        self.process.kill() if how == "SIGKILL" else self.process.terminate()
        self.process.wait(60)


@contextmanager
def server_of(kind, folder, **how):
    server = Server(program_of(kind), folder, **how)
    try:
        yield server
    finally:
        server.end("SIGKILL")


def write_as_each_role(server):
    """Write in transactions and scripts, as producer, worker and bridge do."""
    assert {outcome.refused for outcome in send(server.client("producer"), "p1", [Send(0, b"x", "7,1")] * 5)} == {None}
    worker = server.client("worker")
    worker.xgroup_create(stream_key(0), GROUP, id="0")
    assert len(worker.xreadgroup(GROUP, "w1", {stream_key(0): ">"})[0][1]) == 5
    with worker.pipeline(transaction=True) as results:
        for number in range(1, 4):
            results.xadd(results_key(0), {"kind": "bars", "body": "{}"}, id=f"{number}-0")
        results.execute()
    worker.eval("return redis.call('XADD', KEYS[1], '*', 'f', ARGV[1])", 1, stream_key(1), "y")
    bridge = Publisher(server.client("bridge"), 3)
    bridge.open()
    bridge.publish([("tickstock:monitoring", '{"a":1}')] * 2)


def what_it_holds(admin):
    return {
        "frames": admin.xlen(stream_key(0)),
        "read": admin.xpending(stream_key(0), GROUP)["pending"] if admin.exists(stream_key(0)) else 0,
        "sent": admin.hget(flow_key(0), "sent:p1"),
        "results": admin.xlen(results_key(0)),
        "of a script": admin.xlen(stream_key(1)),
        "epoch": admin.get(BRIDGE_EPOCH),
        "said": admin.hget(bridge_seq_key(3), ""),
    }


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_transactions_and_scripts_wrote_is_there_after_a_restart_under_the_users_file(tmp_path, kind, how):
    with server_of(kind, tmp_path) as server:
        write_as_each_role(server)
        server.end(how)
        server.start()
        assert what_it_holds(server.admin) == {
            "frames": 5,
            "read": 5,
            "sent": b"7,1",
            "results": 3,
            "of a script": 1,
            "epoch": b"3",
            "said": b"2",
        }


@pytest.mark.parametrize("kind", KINDS)
def test_the_user_that_loads_the_file_lets_nobody_in(tmp_path, kind):
    with server_of(kind, tmp_path) as server:
        for login in ("", ":x@", "default:@", "default:x@"):
            with (
                closing(connect(f"redis://{login}127.0.0.1:{server.port}")) as nobody,
                pytest.raises(redis.AuthenticationError),
            ):
                nobody.ping()


@pytest.mark.parametrize("kind", ["Redis 7", "Redis 8"])
def test_the_doctor_and_the_start_see_an_older_file_that_forgets(tmp_path, kind):
    with server_of(kind, tmp_path, default=FORMER_DEFAULT) as server:
        write_as_each_role(server)
        assert {user: replay_of(server.client(user)) for user in ("worker", "operator", "producer")} == {
            "worker": "drops",
            "operator": "drops",
            "producer": "unknown",
        }
        (finding,) = (f for f in check_redis(server.client("operator"), "here", []) if f.subject == "Redis persistence")
        assert finding.level == "FAIL"
        assert "ACL SETUSER default off resetpass ~* &* +@all" in finding.do
        server.end("SIGTERM")
        server.start()
        assert what_it_holds(server.admin)["frames"] == 0  # this is what must not come unseen
        # What the finding says to do helps, also afterwards: the file still holds what was dropped at the load.
        server.admin.execute_command("ACL", "SETUSER", "default", "off", "resetpass", "~*", "&*", "+@all")
        server.admin.execute_command("ACL", "SAVE")
        assert replay_of(server.client("operator")) == "whole"
        server.end("SIGTERM")
        server.start()
        assert what_it_holds(server.admin)["frames"] == 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_brings_everything_back_is_no_finding(tmp_path, kind):
    with server_of(kind, tmp_path) as server:
        (finding,) = (f for f in check_redis(server.client("operator"), "here", []) if f.subject == "Redis persistence")
        assert (finding.level, replay_of(server.client("worker"))) == ("ok", "whole")


@pytest.mark.parametrize("kind", KINDS)
def test_a_producer_whose_rights_are_new_is_not_told_that_the_users_file_is_old(tmp_path, kind):
    with server_of(kind, tmp_path) as server:
        found = check_redis(server.client("producer"), "here", ["producer"])
        (finding,) = (f for f in found if f.subject == "Redis persistence")
        assert (finding.level, "--role worker" in finding.says) == ("ok", True)


@pytest.mark.parametrize(
    ("role", "may_ask", "said"),
    [
        ("worker", True, ("error", "Redis would lose data at its next start")),
        ("worker", False, ("warning", "Redis may lose data at its next start")),
        ("bridge", True, ("error", "Redis would lose data at its next start")),
        ("producer", True, None),  # it may not ask
    ],
)
def test_a_start_says_what_a_redis_would_forget(tmp_path, role, may_ask, said):
    with server_of("Redis 7", tmp_path, default=FORMER_DEFAULT) as server:
        if not may_ask:
            server.admin.execute_command("ACL", "SETUSER", role, "-acl|dryrun")
        url = f"redis://{role}:{server.words[role]}@127.0.0.1:{server.port}/0"
        with capture_logs() as logs:
            open_redis(Place(Servers(url, ""), embedded=False, connect_timeout_s=60.0), role).close()
        assert [(line["log_level"], line["event"]) for line in logs] == ([said] if said else [])


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_may_not_ask_is_told_so(tmp_path, kind):
    with server_of(kind, tmp_path) as server:
        server.admin.execute_command("ACL", "SETUSER", "operator", "-acl|dryrun")
        (finding,) = (f for f in check_redis(server.client("operator"), "here", []) if f.subject == "Redis persistence")
        assert finding.level == "warn"
        assert "tickstock redis-acl" in finding.do
