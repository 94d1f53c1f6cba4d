"""What a container is asked every few seconds."""

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

NO_PROXY_THERE = "http://127.0.0.1:1"


class Well(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def port():
    with HTTPServer(("127.0.0.1", 0), Well) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def asked(port, **environment):
    command = [sys.executable, "-m", "tickstockpl.ops.process.healthcheck"]
    environment |= {"TICKSTOCK_METRICS_PORT": str(port)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_it_asks_its_own_host_and_no_proxy(port):
    ran = asked(port, http_proxy=NO_PROXY_THERE, all_proxy=NO_PROXY_THERE)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_process_that_does_not_answer_is_not_well():
    ran = asked(1)
    assert ran.returncode == 1
    assert ran.stderr.startswith("not healthy: ")
