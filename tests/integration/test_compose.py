"""compose/: without a container engine, each of its command lines runs here as a real process with what it is given.

Redis and PostgreSQL are the embedded programs under the flags of the compose file, so that its users, secrets, script
and rights are those that a container would meet.
"""

import os
import resource
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import processes
import psycopg
import pytest
import redis
from compose_files import ROOT, SECRETS, SERVICES, image_environment, image_health_check
from ports import free_port
from tickstockpl.contracts.names import HEARTBEAT
from tickstockpl.ops.embedded.programs import (
    ENVIRONMENT,
    give_to_server,
    postgres_program,
    postgres_version,
    server_account,
    valkey_program,
)

BIN = Path(sys.executable).parent
OWNERS = "SELECT owner, count(*) FROM lease WHERE unit LIKE 'partition:%' AND expires_at > clock_timestamp() GROUP BY 1"


class Stack:
    """The services as processes of this machine."""

    def __init__(self, folder):
        self.folder = folder
        self.secrets = folder / "secrets"
        self.ports = {"redis": free_port(), "timescaledb": free_port()}
        self.processes = {}
        self.environments = {}
        self.looks = None  # a connection that is kept
        for name in ("redis", "pg", "sockets", "spool", "project", "secrets"):
            (folder / name).mkdir()
        for volume in SECRETS["volumes"]:
            if volume.startswith("secrets"):
                Path(self.inside(volume.partition(":")[2], "secrets")).mkdir()
        command = [self.inside(word, "secrets") for word in SECRETS["command"]]
        subprocess.run([BIN / command[0], *command[1:]], cwd=folder / "project", check=True, capture_output=True)

    def secret(self, name):
        return (self.secrets / "all" / "made" / name).read_text()

    def inside(self, text, name):
        """Lead a path in a service's container to where its content is here."""
        places = {
            "/run/secrets": self.secrets / name,
            "/var/lib/tickstock": self.folder,
            **({"/secrets": self.secrets} if name == "secrets" else {}),
        }
        for place, here in places.items():
            text = text.replace(place, str(here))
        return text

    def start_redis(self):
        """Start Redis under the service's flags."""
        flags = [
            str(self.folder / "redis") if word == "/data" else self.inside(word, "redis")
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
        script.write_text(self.inside((ROOT / mounted.partition(":")[0]).read_text(), "timescaledb"))
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
        if self.looks is None:
            self.looks = self.database("app_readwrite", "tickstock", "database_password")
        return self.looks.execute(statement).fetchall()

    def environment(self, name):
        """Return what a process of a service finds: the image's and the service's variables, led to this machine."""
        said = {**image_environment(), **SERVICES[name]["environment"]}
        found = {variable: self.inside(value, name) for variable, value in said.items() if value is not None}
        assert (found["REDIS_HOST"], found["TICKSTOCK_DB_HOST"]) == ("redis", "timescaledb")
        return found | {
            "PATH": f"{BIN}:{os.defpath}",
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.ports["redis"]),
            "TICKSTOCK_DB_HOST": "127.0.0.1",
            "TICKSTOCK_DB_PORT": str(self.ports["timescaledb"]),
            "TICKSTOCK_METRICS_HOST": "127.0.0.1",
            "TICKSTOCK_METRICS_PORT": str(free_port()),  # here all share one network
            "TICKSTOCK_API_HOST": "127.0.0.1",
            "TICKSTOCK_API_PORT": str(free_port()),
        }

    def start(self, name, replica=1):
        """Start one of our services; what has no volume may write no file, as in its container."""
        self.environments[f"{name}.{replica}"] = environment = self.environment(name)
        writes = any(not volume.endswith(":ro") for volume in SERVICES[name]["volumes"])
        limit = (resource.RLIM_INFINITY,) * 2 if writes else (0, 0)
        self.processes[f"{name}.{replica}"] = self.spawn(
            SERVICES[name]["command"],
            environment,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
            cwd="/",
        )
        return self.processes[f"{name}.{replica}"]

    def run(self, name, command):
        """Run a command with what a service is given, as `docker compose run` does; return its exit code.

        It is forked (processes.py): to start Python takes longer than the command, and the fleet works all the time.
        """
        program, *arguments = command.split()
        assert program == "tickstock"
        return processes.run(arguments, env=self.environment(name), within_s=120, cwd="/").returncode

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
        if self.looks is not None:
            self.looks.close()
        for process in self.processes.values():
            process.kill()
            process.communicate()


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

    for name, replicas in (("bridge", 1), ("worker", 2), ("jobs", 1), ("api", 1), ("producer", 1)):
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

    for name in ("bridge.1", "worker.1", "worker.2", "jobs.1", "api.1", "producer.1"):
        wait_for(lambda name=name: stack.is_well(name))

    # `docker compose run --rm operator …`, and what an operator may not.
    for command, code in (("doctor --role operator", 0), ("status", 0), ("doctor --role worker", 1)):
        assert stack.run("operator", f"tickstock {command}") == code, command

    # As an engine stops them: who depends on others goes first.
    for name in ("producer.1", "worker.1", "worker.2", "api.1", "jobs.1", "bridge.1"):
        code, said = stack.stop(name)
        assert code == 0, f"{name}: {said}"
    stack.looks.close()
    assert stack.stop("redis")[0] == 0
    assert stack.stop("timescaledb")[0] == 0


@pytest.mark.skipif(not shutil.which("prometheus"), reason="no Prometheus on this machine: no package of Python has it")
def test_prometheus_starts_under_the_flags_of_its_service(tmp_path, wait_for):
    service = SERVICES["prometheus"]
    mounted = {inside: ROOT / source for source, inside, *_ in (v.split(":") for v in service["volumes"])}
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
