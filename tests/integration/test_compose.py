"""compose/: without a container engine, each of its command lines runs here as a real process with what it is given.

Redis and PostgreSQL are the embedded programs under the flags of the compose file, so that its users, secrets, script
and rights are those that a container would meet.
"""

import json
import os
import re
import resource
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis
from ports import free_port
from ruamel.yaml import YAML
from tickstockpl.contracts.names import HEARTBEAT
from tickstockpl.ops.embedded_programs import (
    ENVIRONMENT,
    give_to_server,
    postgres_program,
    postgres_version,
    server_account,
    valkey_program,
)
from tickstockpl.ops.secret_folder import make_secrets

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
FILES = sorted(COMPOSE.glob("*.yaml"))
BIN = Path(sys.executable).parent
IMAGE = "tickstockpl:local"
OWNERS = "SELECT owner, count(*) FROM lease WHERE unit LIKE 'partition:%' AND expires_at > clock_timestamp() GROUP BY 1"


def said_by(file):
    """Read a compose file as compose does where the environment has nothing to add: the defaults, and $$ as $."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", file.read_text())
    return YAML(typ="safe").load(text.replace("$$", "$"))


SAID = said_by(COMPOSE / "compose.yaml")
SERVICES = SAID["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == IMAGE]


def test_the_compose_files_are_what_the_specification_says():
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", *map(str, FILES)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_the_dockerfile_has_no_finding():
    ran = subprocess.run(
        [str(BIN / "hadolint"), str(COMPOSE / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "")


def test_every_file_that_is_mounted_or_built_from_is_there(tmp_path):
    secrets = tmp_path / "secrets"
    list(make_secrets(secrets))
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source, inside, *_ = volume.split(":")
            if source in SAID["volumes"]:
                continue
            assert (COMPOSE / source).exists(), f"{name}: {source}"
            for word in service.get("command", ()):  # what its command line names inside
                place = word.partition("=")[2] or word
                if place.startswith(f"{inside}/"):
                    assert (COMPOSE / source / place.removeprefix(f"{inside}/")).exists(), word
        for secret in service.get("secrets", ()):
            assert (secrets / Path(SAID["secrets"][secret]["file"]).name).exists(), secret
    for name in OURS:
        assert (COMPOSE / SERVICES[name]["build"]["context"] / SERVICES[name]["build"]["dockerfile"]).exists()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined_pinned_and_watched(name):
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"]
    assert service["image"] == IMAGE or re.fullmatch(r".+:v?\d+\.\d+\.\d+[\w.-]*", service["image"])
    assert name in OURS or "test" in service["healthcheck"]  # ours have the image's
    assert [v for v in service.get("environment", {}) if "PASSWORD" in v and not v.endswith("_FILE")] == []


def test_workers_can_be_scaled():
    assert SERVICES["worker"].keys() & {"container_name", "hostname", "ports"} == set()
    assert not any(name.endswith("CONSUMER") for name in SERVICES["worker"]["environment"])


def test_the_image_gets_every_folder_and_runs_as_nobody_of_note():
    allowed = set(re.findall(r"^!(\S+)$", (COMPOSE / "Dockerfile.dockerignore").read_text(), re.MULTILINE))
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert folders | {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "py.typed", "*.py"} == allowed
    assert re.findall(r"^USER (\S+)$", (COMPOSE / "Dockerfile").read_text(), re.MULTILINE) == ["10001:10001"]


class Stack:
    """The services as processes of this machine."""

    def __init__(self, folder):
        self.folder = folder
        self.secrets = folder / "secrets"
        self.ports = {"redis": free_port(), "timescaledb": free_port()}
        self.processes = {}
        self.environments = {}
        for name in ("redis", "pg", "sockets", "spool"):
            (folder / name).mkdir()
        list(make_secrets(self.secrets))

    def secret(self, name):
        return (self.secrets / name).read_text()

    def inside(self, text):
        """Lead a path of a container to where its content is here."""
        return text.replace("/run/secrets", str(self.secrets)).replace("/var/lib/tickstock", str(self.folder))

    def start_redis(self):
        """Start Redis under the service's flags."""
        flags = [
            str(self.folder / "redis") if word == "/data" else self.inside(word)
            for word in SERVICES["redis"]["command"][1:]
        ]
        program = [valkey_program(), *flags, "--bind", "127.0.0.1", "--port", str(self.ports["redis"])]
        self.processes["redis"] = self.spawn(program, ENVIRONMENT)

    def start_timescaledb(self):
        """Fill a cluster, start it under the service's flags, and run the script as the image does."""
        service = SERVICES["timescaledb"]
        for name in ("pg", "sockets"):
            give_to_server(self.folder / name)
        account = server_account()
        as_server = {} if account is None else {"user": account, "group": account, "extra_groups": []}
        password_file = self.folder / "password"
        password_file.write_text(self.secret("postgres_password"))
        give_to_server(password_file)
        cluster = self.folder / "pg" / "data"
        subprocess.run(
            [
                *(postgres_program("initdb"), "-D", cluster, "--username=postgres", f"--pwfile={password_file}"),
                *("--auth-host=scram-sha-256", "--auth-local=trust"),
                *shlex.split(service["environment"]["POSTGRES_INITDB_ARGS"]),
            ],
            env=ENVIRONMENT, cwd="/", check=True, capture_output=True, **as_server,
        )  # fmt: skip
        sockets, port = self.folder / "sockets", self.ports["timescaledb"]
        here = [
            "-D",
            cluster,
            "-c",
            f"port={port}",
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"unix_socket_directories={sockets}",
        ]
        self.processes["timescaledb"] = self.spawn(
            [postgres_program("postgres"), *service["command"][1:], *here], ENVIRONMENT, cwd="/", **as_server
        )
        return lambda: self.database("postgres", "postgres", "postgres_password").close() or True

    def make_role(self):
        """Make the database and run the script, as the image does on an empty volume."""
        name = SERVICES["timescaledb"]["environment"]["POSTGRES_DB"]
        with self.database("postgres", "postgres", "postgres_password") as connection:
            connection.execute(f"CREATE DATABASE {name}")
        (mounted,) = (v for v in SERVICES["timescaledb"]["volumes"] if "initdb.d" in v)
        script = self.folder / "script"
        script.write_text(self.inside((COMPOSE / mounted.partition(":")[0]).read_text()))
        environment = ENVIRONMENT | {
            "PATH": f"{postgres_program('psql').parent}:{os.defpath}",
            "PGHOST": str(self.folder / "sockets"),
            "PGPORT": str(self.ports["timescaledb"]),
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": name,
        }
        ran = subprocess.run(["sh", str(script)], env=environment, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")

    def database(self, user, name, secret):
        return psycopg.connect(
            host="127.0.0.1", port=self.ports["timescaledb"], user=user, dbname=name, password=self.secret(secret),
            autocommit=True,
        )  # fmt: skip

    def rows(self, statement):
        with self.database("app_readwrite", "tickstock", "database_password") as connection:
            return connection.execute(statement).fetchall()

    def environment(self, name):
        """Return what a process of a service finds: the image's and the service's variables, led to this machine."""
        said = {**image_environment(), **SERVICES[name]["environment"]}
        found = {variable: self.inside(value) for variable, value in said.items() if value is not None}
        assert (found["REDIS_HOST"], found["TICKSTOCK_DB_HOST"]) == ("redis", "timescaledb")
        return found | {
            "PATH": f"{BIN}:{os.defpath}",
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.ports["redis"]),
            "TICKSTOCK_DB_HOST": "127.0.0.1",
            "TICKSTOCK_DB_PORT": str(self.ports["timescaledb"]),
            "TICKSTOCK_METRICS_HOST": "127.0.0.1",
            "TICKSTOCK_METRICS_PORT": str(free_port()),  # here all share one network
        }

    def start(self, name, replica=1):
        """Start one of our services; what has no volume may write no file, as in its container."""
        self.environments[f"{name}.{replica}"] = environment = self.environment(name)
        limit = (0, 0) if not SERVICES[name].get("volumes") else (resource.RLIM_INFINITY,) * 2
        self.processes[f"{name}.{replica}"] = self.spawn(
            SERVICES[name]["command"],
            environment,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
            cwd="/",
        )
        return self.processes[f"{name}.{replica}"]

    def is_well(self, name):
        """Run the image's health check beside a process."""
        return subprocess.run(image_health_check(), env=self.environments[name], check=False).returncode == 0

    def spawn(self, command, environment, **how):
        return subprocess.Popen(
            list(map(str, command)), env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, **how,
        )  # fmt: skip

    def stop(self, name):
        """Stop a process as an engine does; return its exit code and what it said.

        Within the service's grace, or a minute where that is shorter: this machine may be a busy one.
        """
        process = self.processes.pop(name)
        process.terminate()
        grace = SERVICES[name.partition(".")[0]]["stop_grace_period"]
        grace_s = int(grace.rstrip("sm")) * (60 if grace.endswith("m") else 1)
        said, _ = process.communicate(timeout=max(grace_s, 60))
        return process.returncode, said

    def end(self):
        for process in self.processes.values():
            process.kill()
            process.communicate()


def image_environment():
    """Read ENV of the image's last stage."""
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", (COMPOSE / "Dockerfile").read_text(), re.MULTILINE)
    return dict(pair.split("=", 1) for pair in block.replace("\\\n", " ").split())


def image_health_check():
    """Read HEALTHCHECK of the image's last stage."""
    (command,) = re.findall(
        r"^HEALTHCHECK (?:.*\\\n)*.*CMD (\[.*\])$", (COMPOSE / "Dockerfile").read_text(), re.MULTILINE
    )
    return json.loads(command)


@pytest.fixture
def stack(make_reachable_folder, wait_for):
    """Give the stack with both servers up."""
    if postgres_version() < 17:
        pytest.skip("the compose file is of PostgreSQL 17")
    folder = make_reachable_folder()
    stack = Stack(folder)
    try:
        stack.start_redis()
        answers = stack.start_timescaledb()

        def is_up():
            try:
                return answers()
            except psycopg.OperationalError:
                return False

        wait_for(is_up)
        stack.make_role()
        yield stack
    finally:
        stack.end()
        shutil.rmtree(folder)


def test_the_services_run_as_the_compose_file_says(stack, wait_for):
    assert stack.start("migrate").communicate(timeout=300)[0].endswith("the stream has 16 partitions\n")
    assert stack.processes.pop("migrate.1").returncode == 0

    for name, replicas in (("bridge", 1), ("worker", 2), ("producer", 1)):
        for replica in range(1, replicas + 1):
            stack.start(name, replica)
    wait_for(lambda: sorted(dict(stack.rows(OWNERS)).values()) == [8, 8])
    wait_for(lambda: stack.rows("SELECT sum(applied) > 0 FROM ledger") == [(True,)])
    with redis.Redis(port=stack.ports["redis"], username="operator", password=stack.secret("redis_operator")) as client:
        wait_for(lambda: client.get(HEARTBEAT))
        assert client.info("memory")["maxmemory_policy"] == "noeviction"
        assert client.info("persistence")["aof_enabled"] == 1
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.flushall()

    for name in ("bridge.1", "worker.1", "worker.2", "producer.1"):
        wait_for(lambda name=name: stack.is_well(name))

    # As an engine stops them: who depends on others goes first.
    for name in ("producer.1", "worker.1", "worker.2", "bridge.1"):
        code, said = stack.stop(name)
        assert code == 0, f"{name}: {said}"
    assert stack.stop("redis")[0] == 0
    assert stack.stop("timescaledb")[0] == 0


def test_services_stop_in_the_order_in_which_the_ticks_come():
    needs = {name: set(service.get("depends_on", ())) for name, service in SERVICES.items()}
    assert "worker" in needs["producer"]
    assert "bridge" in needs["worker"]
    assert needs["bridge"] == {"redis", "timescaledb", "migrate"}


@pytest.mark.skipif(not shutil.which("prometheus"), reason="no Prometheus on this machine: no package of Python has it")
def test_prometheus_starts_under_the_flags_of_its_service(tmp_path, wait_for):
    service = SERVICES["prometheus"]
    mounted = {inside: COMPOSE / source for source, inside, *_ in (v.split(":") for v in service["volumes"])}
    port = free_port()
    flags = [
        word.replace("/etc/prometheus", str(mounted["/etc/prometheus"])).replace("=/prometheus", f"={tmp_path}")
        for word in service["command"]
    ]
    log = tmp_path / "log"
    command = ["prometheus", *flags, f"--web.listen-address=127.0.0.1:{port}"]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:

        def listens():
            assert process.poll() is None, log.read_text()
            with closing(socket.socket()) as asking:
                return asking.connect_ex(("127.0.0.1", port)) == 0

        try:
            wait_for(listens)
        finally:
            process.terminate()
    assert process.returncode == 0, log.read_text()
