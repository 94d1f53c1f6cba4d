"""The containers of the manifests as real processes, on real servers: they start, get ready, answer probes and end."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from ports import free_port
from tickstockpl.ops.fake_massive import FakeMassive

KEY = "the-key"
BIN = Path(sys.executable).parent
WITHIN_S = 300


class Pods:
    """Containers that run here, each by its command and variables, on a port of its own and the servers of the test."""

    def __init__(self, servers, folder, **instead):
        """instead: variables with the places of this test, of which a cluster has its own."""
        self.servers, self.folder, self.instead = servers, folder, instead
        self.running = {}

    def start(self, container, name):
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("REDIS", "DATABASE", "TICKST"))}
        variables = container.environment | self.instead
        for variable in container.spec["env"]:
            if "secretKeyRef" in variable.get("valueFrom", ()):
                variables[variable["name"]] = {
                    "redis-url": self.servers.redis_url, "database-url": self.servers.database_url
                }[variable["valueFrom"]["secretKeyRef"]["key"]]  # fmt: skip
            elif "fieldRef" in variable.get("valueFrom", ()):
                variables[variable["name"]] = name
        port = None
        if "ports" in container.spec:
            port = variables["TICKSTOCK_METRICS_PORT"] = str(free_port())
        program, *arguments = container.words
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [BIN / program, *arguments], env=clean | variables, cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log,
            )  # fmt: skip
        self.running[name] = container, process, port
        return process

    def probed(self, name, probe):
        """Ask as the kubelet does; return the answer's status, 0 where nobody listens."""
        container, process, port = self.running[name]
        assert process.poll() is None, self.logs()
        path = container.spec[f"{probe}Probe"]["httpGet"]["path"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as e:
            return e.code
        except OSError:
            return 0

    def end(self):
        for _, process, _ in self.running.values():
            if process.poll() is None:
                process.kill()
            process.wait()

    def logs(self):
        return "\n".join(f"-- {file.name}\n{file.read_text()[-4000:]}" for file in sorted(self.folder.glob("*.log")))


@pytest.fixture
def market():
    with FakeMassive(key=KEY) as fake:
        yield fake


@pytest.fixture
def pods(empty_servers, tmp_path, market):
    key_file = tmp_path / "api-key"
    key_file.write_text(KEY)
    pods = Pods(
        empty_servers, tmp_path, TICKSTOCK_API_KEY_FILE=str(key_file), TICKSTOCK_SPOOL_DIR=str(tmp_path / "spool"),
        TICKSTOCK_UNIVERSE="AAPL,MSFT", TICKSTOCK_MASSIVE_URL=market.websocket_url, TICKSTOCK_REST_URL=market.rest_url,
    )  # fmt: skip
    yield pods
    pods.end()


def test_the_manifests_containers_get_ready_answer_their_probes_and_end_in_time(containers, pods, market, wait_for):
    by_name = {str(container): container for container in containers}
    assert pods.start(by_name["migrate"], "migrate").wait(WITHIN_S) == 0, pods.logs()
    del pods.running["migrate"]
    for container, name in (("worker", "w1"), ("bridge", "b1"), ("bridge", "b2"), ("jobs", "j1"), ("producer", "p1")):
        pods.start(by_name[container], name)
    for name in pods.running:
        wait_for(lambda name=name: pods.probed(name, "startup") == 200, WITHIN_S)
        wait_for(lambda name=name: pods.probed(name, "readiness") == 200, WITHIN_S)
        assert pods.probed(name, "liveness") == 200
    wait_for(lambda: market.connections == 1, WITHIN_S)  # a producer is ready before its feed is
    for _, process, _ in reversed(pods.running.values()):
        process.terminate()
        assert process.wait(WITHIN_S) == 0, pods.logs()  # one that takes longer than its own deadline ends with 1
