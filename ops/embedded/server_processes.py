"""The two embedded servers of a data folder: start, check and stop them.

Both listen on 127.0.0.1 with a password, not on sockets in the data folder: a socket's path is limited to 107 bytes,
and tools between us and a server (a proxy) use TCP. The last port is used again if it is free. The watchdog decides
when to start and stop.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ...contracts.errors import SetupError
from ...contracts.settings import Servers
from .folder import ServerRecord, State, read_state, write_state
from .programs import (
    ENVIRONMENT,
    give_to_server,
    place_for_cluster,
    postgres_program,
    postgres_version,
    server_account,
    valkey_program,
)

READY_WITHIN_S = 30.0  # a second is usual; a long AOF or a crash recovery takes longer
_STOP_WITHIN_S = 20.0  # for each signal, before the next, harder one
_MAX_LOG_BYTES = 16 * 2**20
_QUOTED_LINES = 5

# Unicode's rules without the system's locales, which may change under an index; older servers have only C.
_BUILTIN_LOCALE = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
_KNOWS_BUILTIN_LOCALE = 17

# Below the ports that Linux gives to outgoing connections (from 32768): a client that connects to a stopped server
# could get the server's own port, connect to itself, and keep the server from its port.
_PORTS = range(20_000, 32_000)


class EmbeddedServer(ABC):
    """One server. Its record names its process, which an earlier watchdog may have started."""

    name: str
    stop_signals: tuple[signal.Signals, ...]

    def __init__(self, folder: Path, record: ServerRecord) -> None:
        self.record = record
        self._folder = folder
        self._log = folder / f"{self.name}.log"
        self._log_start = 0
        self._child: subprocess.Popen[bytes] | None = None

    def is_alive(self) -> bool:
        """Tell whether the process that was started still runs."""
        if self._child is not None:
            return self._child.poll() is None
        return bool(self.record.birth) and birth_of(self.record.pid) == self.record.birth

    def take_port(self) -> None:
        """Take the last port, or a new one if another program listens on it."""
        if not self.record.port:
            self.record.port = _free_port()
        elif not _is_free(self.record.port):
            self.record.port = _free_port()
            self.forget_password()

    def forget_password(self) -> None:  # noqa: B027  # not abstract: PostgreSQL's password stays
        """Choose a new password if clients may have sent it to another program on our port."""

    def start(self) -> None:
        """Start the process on the recorded port; do not wait for it."""
        with suppress(FileNotFoundError):
            if self._log.stat().st_size > _MAX_LOG_BYTES:
                self._log.replace(f"{self._log}.1")
        self._child = self._spawn()
        self.record.pid, self.record.birth = self._child.pid, birth_of(self._child.pid) or ""

    def wait_until_ready(self) -> None:
        """Wait until the server answers. Raises SetupError, with the end of its log, if it does not."""
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                self.check()
            except (redis.RedisError, psycopg.Error) as e:
                if not self.is_alive() or time.monotonic() > deadline:
                    raise SetupError(f"the embedded {self.name} did not start: {self._last_lines()}") from e
                time.sleep(0.02)
            else:
                return

    def send(self, which: signal.Signals) -> None:
        """Send a signal to the process, if it is still the one that was started."""
        if self.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.record.pid, which)

    def has_ended(self, within_s: float) -> bool:
        """Wait for the end of the process."""
        deadline = time.monotonic() + within_s
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    @abstractmethod
    def check(self) -> None:
        """Send a request to the server. Raises the client library's error if it does not answer."""

    @abstractmethod
    def _spawn(self) -> subprocess.Popen[bytes]:
        """Start the server's process on the recorded port."""

    def _open_log(self) -> int:
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._log_start = os.fstat(descriptor).st_size
        return descriptor

    def _last_lines(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return " | ".join(lines[-_QUOTED_LINES:]) or f"{self._log} is empty"


class Valkey(EmbeddedServer):
    """Valkey with every write in its append-only file, synced once a second."""

    name = "valkey"
    stop_signals = (signal.SIGTERM, signal.SIGKILL)

    def forget_password(self) -> None:
        """AUTH sends it in clear text."""
        self.record.password = ServerRecord().password

    def check(self) -> None:
        """PING."""
        _ping(f"redis://:{self.record.password}@127.0.0.1:{self.record.port}/0")

    def _spawn(self) -> subprocess.Popen[bytes]:
        data = self._folder / "valkey"
        data.mkdir(mode=0o700, exist_ok=True)
        log = self._open_log()
        try:
            child = subprocess.Popen(
                [valkey_program(), "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=data,
                env=ENVIRONMENT,
                start_new_session=True,  # Ctrl-C in the terminal must not reach it
            )
        finally:
            os.close(log)
        # By standard input, because everybody can read a command line. Relative paths need no quoting.
        with suppress(BrokenPipeError):
            _feed(child, self._configuration())
        return child

    def _configuration(self) -> str:
        return f"""
            bind 127.0.0.1
            port {self.record.port}
            requirepass {self.record.password}
            pidfile ../valkey.pid
            appendonly yes
            appendfsync everysec
            save ""
            maxmemory-policy noeviction
            hz 100
            """


class Postgres(EmbeddedServer):
    """PostgreSQL with its durable defaults (fsync and synchronous_commit on), for the role and database `tickstock`."""

    # Its password stays: SCRAM does not reveal it, and wiring.REQUIRE_SCRAM forbids other methods.
    name = "postgres"
    stop_signals = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)

    def check(self) -> None:
        """Connect, and create our database if it is missing."""
        with psycopg.connect(
            host="127.0.0.1",
            port=self.record.port,
            user="tickstock",
            password=self.record.password,
            dbname="postgres",
            connect_timeout=2,
            autocommit=True,
        ) as connection:
            # Not in db/sql/queries: those run in a database, and this creates it.
            if not connection.execute("SELECT FROM pg_database WHERE datname = 'tickstock'").rowcount:
                connection.execute("CREATE DATABASE tickstock")

    def _spawn(self) -> subprocess.Popen[bytes]:
        cluster = self._cluster()
        # None of our servers runs. After a crash the process id in this file may belong to another process, and
        # PostgreSQL would not start. Our server is then still found by its shared memory.
        (cluster / "postmaster.pid").unlink(missing_ok=True)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.record.port,
            "unix_socket_directories": "",
            "max_connections": 300,  # one for each worker
            "authentication_timeout": "5s",  # the longest time that a connection may stay open without a login
            "shared_buffers": "128MB",
            "max_wal_size": "512MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "jit": "off",  # our statements are short: compiling costs more than it saves
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self._run_postgres("postgres", "-D", str(cluster), *options)

    def _cluster(self) -> Path:
        """Return the cluster's folder; create it the first time, with another name until it is complete."""
        link = self._folder / "postgres"
        if link.is_symlink() or link.exists():
            return link.resolve()
        place = place_for_cluster(self._folder)
        fresh = place / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        give_to_server(fresh)
        self._initialise(fresh)
        cluster = fresh.rename(place / "postgres")
        if place != self._folder:
            link.symlink_to(cluster)
        return cluster

    def _initialise(self, fresh: Path) -> None:
        # Not below TMPDIR, which PostgreSQL's account may not reach.
        with tempfile.NamedTemporaryFile("w", dir=fresh.parent) as password_file:
            password_file.write(self.record.password)
            password_file.flush()
            give_to_server(Path(password_file.name))
            initdb = self._run_postgres(
                "initdb",
                *("-D", str(fresh), "--username=tickstock", f"--pwfile={password_file.name}", "--auth=scram-sha-256"),
                *("--encoding=UTF8", "--locale=C", *_BUILTIN_LOCALE * (postgres_version() >= _KNOWS_BUILTIN_LOCALE)),
            )
            if initdb.wait() != 0:
                raise SetupError(f"initdb failed: {self._last_lines()}")

    def _run_postgres(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        account = server_account()
        log = self._open_log()
        try:
            return subprocess.Popen(
                [postgres_program(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=ENVIRONMENT,
                start_new_session=True,  # Ctrl-C in the terminal must not reach it
                user=account,
                group=account,
                extra_groups=None if account is None else [],
            )
        finally:
            os.close(log)


def both_servers(folder: Path, state: State) -> tuple[Valkey, Postgres]:
    """Return the two servers in a state."""
    return Valkey(folder, state.valkey), Postgres(folder, state.postgres)


def stop(servers: Sequence[EmbeddedServer]) -> None:
    """Stop servers in parallel: first gently, then harder; return when no process is left."""
    for server in servers:
        server.send(server.stop_signals[0])
    for server in servers:
        for harder in server.stop_signals[1:]:
            if server.has_ended(_STOP_WITHIN_S):
                break
            server.send(harder)
        server.has_ended(_STOP_WITHIN_S)
        server.record.pid, server.record.birth = 0, ""


def stop_orphans(folder: Path) -> None:
    """Stop servers that a killed watchdog has left, if any. Only while holding the decision lock."""
    if (state := read_state(folder)) is None:
        return
    servers = both_servers(folder, state)
    if any(server.is_alive() for server in servers):
        stop(servers)
        write_state(folder, state)


def both_answer(servers: Servers) -> bool:
    """Ask both servers once, as a client would."""
    try:
        _ping(servers.redis_url)
        psycopg.connect(servers.database_url, connect_timeout=2).close()
    except (redis.RedisError, psycopg.Error):
        return False
    return True


def birth_of(pid: int) -> str | None:
    """Return the start time of a process, in ticks since boot (proc(5), field 22); None if it ended or is a zombie.

    Without /proc (macOS) every process of another watchdog counts as ended.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else rest[18]


def _feed(child: subprocess.Popen[bytes], text: str) -> None:
    if child.stdin is not None:
        with child.stdin as pipe:
            pipe.write(text.encode())


def _ping(url: str) -> None:
    # No retries of redis-py: the callers have their deadline.
    with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
        client.ping()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as the servers do: a port with only closed connections is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    for port in random.sample(_PORTS, 100):
        if _is_free(port):
            return port
    raise SetupError("no free port on 127.0.0.1: 100 of them were tried")
