"""`docker compose up --scale worker=4` in a folder that is as a fresh clone, on a real engine."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from uuid import uuid4

import pytest
import redis
import requests
from ports import free_port

ROOT = Path(__file__).parents[2]
MADE = shutil.ignore_patterns(".*", "build", "built", "dist", "*.egg-info", "__pycache__", "node_modules")
WITHIN_S = 600
MOST_BYTES = 340_000_000  # Python alone has 125 MB; pyarrow would add 170
PUBLISHED = ("--file", "compose.yaml", "--file", "compose/published.yaml", "--profile", "without-password")
LONG_RUNNING = {"redis", "timescaledb", "bridge", "worker", "jobs", "api", "producer", "prometheus", "grafana"}
pytestmark = pytest.mark.skipif(
    os.environ.get("TICKSTOCK_TEST_ENGINE") != "1", reason="`make test-compose` runs it, where a container engine is"
)
# The first process of a container cannot be killed from within: it is `init`, and ends with the one that it started.
KILL = "import os; [os.kill(int(p), 9) for p in os.listdir('/proc') if p.isdigit() and int(p) not in (1, os.getpid())]"


def as_cloned(folder, names):
    """Leave out what a fresh clone has not: what was made, and the passwords in compose/secrets."""
    return MADE(folder, names) | ({"secrets"} if Path(folder) == ROOT / "compose" else set())


class Project:
    """A copy of the sources, under a project name of its own."""

    def __init__(self, folder):
        self.folder = folder
        shutil.copytree(ROOT, folder, ignore=as_cloned)
        self.name = f"tickstock-test-{uuid4().hex[:8]}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("TICKSTOCK", "COMPOSE"))}
        ports = {name: str(free_port()) for name in ("PROMETHEUS_PORT", "GRAFANA_PORT", "TICKSTOCK_API_PORT")}
        self.environment = clean | ports | {"COMPOSE_PROJECT_NAME": self.name}
        self.api = f"http://127.0.0.1:{ports['TICKSTOCK_API_PORT']}"
        self.prometheus = f"http://127.0.0.1:{ports['PROMETHEUS_PORT']}"

    def compose(self, *words, within_s=WITHIN_S):
        """Run `docker compose`; return its output."""
        ran = subprocess.run(
            ["docker", "compose", *words], cwd=self.folder, env=self.environment, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=within_s, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"docker compose {' '.join(words)}: {ran.stdout}{ran.stderr}"
        return ran.stdout

    def containers(self):
        """Return what `ps` says of each container, by its name without the project's."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{")]
        return {each["Name"].removeprefix(f"{self.name}-"): each for each in said}

    def is_well(self):
        """Tell whether all that goes on is healthy, and all that ends has ended well."""
        now = self.containers()
        ended_badly = [name for name, each in now.items() if each["State"] == "exited" and each["ExitCode"] != 0]
        assert ended_badly == [], self.compose(
            "logs", "--tail", "20", *(name.rpartition("-")[0] for name in ended_badly)
        )
        going_on = {name: each["Health"] for name, each in now.items() if each["Service"] in LONG_RUNNING}
        return len(going_on) == len(LONG_RUNNING) + 3 and set(going_on.values()) == {"healthy"}

    def asked(self, statement):
        """Ask the database."""
        words = ("psql", "--username", "postgres", "--dbname", "tickstock", "--tuples-only", "--no-align", "--command")
        return self.compose("exec", "-T", "timescaledb", *words, statement).strip()

    def restarts(self, container):
        """Return how often a container was started again."""
        command = ["docker", "inspect", "--format", "{{.RestartCount}}", f"{self.name}-{container}"]
        return int(subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="module")
def project(tmp_path_factory, wait_for):
    """Give a project that is up, as a user starts it who does nothing else."""
    project = Project(tmp_path_factory.mktemp("clone") / "tickstock")
    try:
        project.compose("build")  # `up` does so where there is no image, and takes one of older sources as it is
        project.compose("up", "--scale", "worker=4", "--detach")
        wait_for(project.is_well, WITHIN_S)
        yield project
    finally:
        project.compose(*PUBLISHED, "down", "--volumes", "--timeout", "5")


@pytest.fixture
def slack():
    """Give how many times longer than alone something may take on this machine now."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def test_the_image_is_small(project, figure):
    command = ["docker", "image", "inspect", "--format", "{{.Size}}", "tickstockpl:local"]
    size = int(subprocess.run(command, env=project.environment, capture_output=True, check=True).stdout)
    figure(f"the image has {size / 1e6:.0f} MB")
    assert size < MOST_BYTES


def test_bars_come(project, wait_for):
    wait_for(lambda: int(project.asked("SELECT count(*) FROM ohlcv_1min")) > 0, WITHIN_S)
    assert "tickstock-stream: 16 partitions, 4 workers" in project.compose(
        "run", "--rm", "operator", "tickstock", "status"
    )


def test_the_page_comes_with_its_charts(project):
    assert "<title>TickStockPL</title>" in requests.get(project.api, timeout=30).text
    assert len(requests.get(f"{project.api}/page/built/lightweight-charts.js", timeout=30).content) > 100_000


def test_a_run_over_the_bars_that_came_is_started_and_watched_by_http(project, wait_for):
    wait_for(lambda: int(project.asked("SELECT count(*) FROM ohlcv_1min")) > 0, WITHIN_S)
    wait_for(lambda: requests.get(f"{project.api}/api/fleet", timeout=30).ok, WITHIN_S)
    wanted = {"skip_market_check": True}
    started = requests.post(f"{project.api}/api/processing/trigger-manual", json=wanted, timeout=30)
    assert started.ok, started.text

    def status():
        runs = requests.get(f"{project.api}/api/processing/history", timeout=30).json()["runs"]
        return next(run["status"] for run in runs if run["run_id"] == started.json()["run_id"])

    wait_for(lambda: status() not in ("queued", "running"), WITHIN_S)
    assert status() == "success", project.compose("logs", "--tail", "50", "jobs")
    assert int(project.asked("SELECT count(*) FROM ohlcv_daily WHERE provenance = 'own'")) > 0


def test_prometheus_reaches_every_process(project, wait_for):
    def reached():
        targets = requests.get(f"{project.prometheus}/api/v1/targets", timeout=30).json()["data"]["activeTargets"]
        return {target["labels"]["job"] for target in targets if target["health"] == "up"}

    wait_for(lambda: reached() == {"worker", "producer", "bridge", "jobs", "api"}, WITHIN_S)


@pytest.mark.parametrize("service", ["worker", "jobs", "api"])
def test_a_service_sees_its_own_passwords_only(project, service):
    seen = project.compose("exec", "-T", service, "ls", "/run/secrets").split()
    assert seen == ["database_password", f"redis_{service}"]


def test_a_worker_that_is_killed_comes_back(project, wait_for):
    assert project.restarts("worker-2") == 0
    # The process that kills is killed with its container, so that its own end says nothing.
    command = ["docker", "compose", "exec", "-T", "--index", "2", "worker", "python", "-c", KILL]
    subprocess.run(command, cwd=project.folder, env=project.environment, capture_output=True, check=False)
    wait_for(lambda: project.restarts("worker-2") == 1, WITHIN_S)
    wait_for(project.is_well, WITHIN_S)
    applied = int(project.asked("SELECT sum(applied) FROM ledger"))
    wait_for(lambda: int(project.asked("SELECT sum(applied) FROM ledger")) > applied, WITHIN_S)


def test_the_live_market_without_its_key_says_which_file_is_missing(project):
    files = ("--file", "compose.yaml", "--file", "compose/massive.yaml")
    with pytest.raises(AssertionError, match=r"there is no compose/secrets/massive_api_key: write the secret"):
        project.compose(*files, "run", "--rm", "secrets")


def test_who_knows_no_password_is_the_application_on_this_host_alone(project, wait_for):
    project.environment["REDIS_PORT"], project.environment["POSTGRES_PORT"] = str(free_port()), str(free_port())
    project.environment["REDIS_WITHOUT_PASSWORD_PORT"] = port = str(free_port())
    project.compose(*PUBLISHED, "up", "--scale", "worker=4", "--detach")
    wait_for(project.is_well, WITHIN_S)
    with redis.Redis(port=int(port)) as client:
        wait_for(lambda: answers(client), WITHIN_S)
        assert client.xadd("tickstock-stream", {"data": "{}"})
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.flushall()
    with redis.Redis(port=int(project.environment["REDIS_PORT"])) as closed:
        wait_for(lambda: answers(closed) is None, WITHIN_S)  # it wants a login
    project.compose(*PUBLISHED, "rm", "--stop", "--force", "application-login")


def answers(client):
    try:
        return client.ping()
    except redis.exceptions.AuthenticationError:
        return None
    except redis.exceptions.RedisError:
        return False


def test_down_takes_ten_seconds_and_up_again_goes_on_with_the_same_passwords(project, wait_for, slack, figure):
    bars = int(project.asked("SELECT count(*) FROM ohlcv_1min"))
    began = time.monotonic()
    project.compose("down")
    took_s = time.monotonic() - began
    figure(f"down took {took_s:.1f} s, on a machine that is {slack:.1f} times as busy as it can be")
    assert took_s < 10 * slack
    project.compose("up", "--scale", "worker=4", "--detach")
    wait_for(project.is_well, WITHIN_S)
    assert int(project.asked("SELECT count(*) FROM ohlcv_1min")) >= bars > 0


def test_a_stopped_fleet_has_ended_by_itself(project):
    """Last, because it leaves nothing running: nobody was killed at the end of his grace."""
    project.compose("stop")
    codes = {name: each["ExitCode"] for name, each in project.containers().items() if each["Service"] in LONG_RUNNING}
    assert [name for name, code in codes.items() if code == 137] == []
