"""A real Prometheus with our configuration scrapes whole processes; every expression of ours is asked for its data."""

import json
import math
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from contextlib import contextmanager

import promql_parser as promql
import pytest
import yaml
from ports import free_port
from tickstockpl.contracts.names import FRONT_DOOR

from ..expressions import OTHERWISE, PROMETHEUS, as_sent, asked, rules
from .fleet import fleet_on, wait_for
from .scrape import Port

BINARY = os.environ.get("TICKSTOCK_PROMETHEUS") or shutil.which("prometheus")
ALERTS = [rule["alert"] for rule in rules() if "alert" in rule]

# What may have no data in a fleet that is well, and why.
STATED_EMPTY = {
    "ALERTS": "no alert stands",
    "tickstock_gaps_total": "a reason is shown with its first gap",
}
# Alerts whose expression may have a result here, and why.
STATED_TRUE = {
    "TickStockTicksSlow": "how fast this machine is, is not asserted",
    "TickStockCommitsSlow": "how fast this machine is, is not asserted",
    "TickStockPublishSlow": "the minutes that this test sends had ended long before",
}


class Server:
    """A Prometheus on a port of its own."""

    def __init__(self, port):
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path, **parameters):
        with urllib.request.urlopen(f"{self._url}/{path}?{urllib.parse.urlencode(parameters)}", timeout=60) as reply:
            return json.load(reply)["data"]

    def is_up(self):
        try:
            return self.get("status/buildinfo")
        except OSError:
            return None

    def values(self, expr):
        """Return the values that an expression has now."""
        return [float(each["value"][1]) for each in self.get("query", query=as_sent(expr))["result"]]

    def states(self):
        return {alert["labels"]["alertname"]: alert["state"] for alert in self.get("alerts")["alerts"]}


@contextmanager
def prometheus_of(ports, folder):
    """Run a Prometheus with our configuration, except for where the processes are and how often it looks."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s")
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port.number}" for port in ports[job["job_name"]]]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(PROMETHEUS / "rules.yml", folder)
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [BINARY, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    server = Server(port)
    try:
        wait_for(server.is_up, 60, lambda: (folder / "prometheus.log").read_text()[-2000:])
        yield server
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def watched(module_servers, tmp_path_factory):
    """Give a fleet that does some of everything, and the Prometheus that looks at it."""
    if not BINARY:
        pytest.skip("no prometheus in PATH, and TICKSTOCK_PROMETHEUS names none")
    counts = {"worker": 2, "bridge": 2, "producer": 1, "jobs": 1, "api": 1}
    ports = {kind: [Port() for _ in range(count)] for kind, count in counts.items()}
    with (
        fleet_on(module_servers, tmp_path_factory.mktemp("fleet"), partitions=4) as fleet,
        fleet.redis.pubsub() as application,
        limited(fleet.redis),
    ):
        application.psubscribe("tickstock*")
        for number in range(2):
            fleet.start_worker(f"c{number}", *ports["worker"][number].options)
            fleet.start(f"bridge{number}", "bridge", *ports["bridge"][number].options)
        fleet.start("jobs", "jobs", *ports["jobs"][0].options)
        fleet.start("api", "api", "--port", 0, *ports["api"][0].options)
        source = ("--source", "synthetic", "--symbols", 20, "--rate", 500)
        fleet.start("live", "producer", *source, *ports["producer"][0].options)
        this_minute = int(fleet.redis.time()[0]) // 60
        send_minutes(fleet.redis, this_minute - 13, FALLING)
        with prometheus_of(ports, tmp_path_factory.mktemp("prometheus")) as server:
            # A rate sees what happens after the first look, at the bridges too.
            ready = f"sum(tickstock_bars_closed_total) >= 12 and sum(up) == {sum(map(len, ports.values()))}"
            wait_for(lambda: server.values(ready), 60, fleet.logs)
            fleet.rows(  # so that the run has a symbol that does not fail
                "INSERT INTO ohlcv_daily (symbol, date, open, high, low, close, volume)"
                " SELECT symbol, current_date - days, 10, 11, 9, 10, 100 FROM symbols, generate_series(0, 7) AS days"
            )
            fleet.rows(
                "INSERT INTO run (run_id, run_date, trigger, universe, phases)"
                " VALUES (gen_random_uuid(), current_date, 'manual', 'all', '{import}')"
            )
            send_minutes(fleet.redis, this_minute - 1, [DOJI])
            yield fleet, server


@contextmanager
def limited(client):
    """Give Redis a limit of its memory meanwhile: without one there is no share of it."""
    before = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", 1 << 30)
    yield
    client.config_set("maxmemory", before)


FALLING = [((0, 100.5 + back / 2), (58, 100.0 + back / 2)) for back in range(11, -1, -1)]
DOJI = ((0, 100.0), (20, 99.4), (58, 100.0))


def send_minutes(client, first_minute, minutes):
    """Send minutes that are over through the front door: (second, price) of each of their trades."""
    for i, trades in enumerate(minutes):
        for second, price in trades:
            at_s = (first_minute + i) * 60 + second
            client.xadd(FRONT_DOOR, {"symbol": "AAPL", "price": price, "volume": 100, "timestamp": at_s})


def series_in(expr):
    """Return every selector of series that an expression has."""
    found = []

    def note(node):
        if isinstance(node, promql.VectorSelector):
            found.append(f"{node.name}{node.matchers}" if node.matchers.matchers else node.name)

    promql.walk(promql.parse(as_sent(expr)), note)
    return found


def is_stated(expr):
    return any(series.startswith(tuple(STATED_EMPTY)) for series in series_in(expr))


def ask_api(fleet):
    """Send a request to the API, which has written its port to its log."""
    port = re.search(rb"127\.0\.0\.1:(\d+)", fleet.log_file("api").read_bytes().split(b"API served")[1])[1].decode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60) as reply:
        reply.read()


def test_every_expression_has_data_or_is_stated_to_have_none(watched):
    fleet, server = watched
    shown = {each.expr.removesuffix(OTHERWISE) for each in asked() if each.where not in ALERTS}
    series = {series for each in asked() for series in series_in(each.expr)}
    waiting = {expr for expr in shown | series if not is_stated(expr)}
    assert len(waiting) > 100

    def have_data():
        ask_api(fleet)
        for expr in list(waiting):
            # A rate has its number only while something happens: to have had one is enough.
            if any(not math.isnan(value) for value in server.values(expr)):
                waiting.discard(expr)
        return not waiting

    wait_for(have_data, 60, lambda: f"data of {sorted(waiting)}\n{fleet.logs()}")


def test_no_alert_of_a_fleet_that_is_well_is_true(watched):
    fleet, server = watched
    expressions = {each.where: each.expr for each in asked() if each.where in ALERTS and each.where not in STATED_TRUE}

    def true_ones():
        return {alert: values for alert, expr in expressions.items() if (values := server.values(expr))}

    wait_for(lambda: not true_ones(), 30, lambda: f"calm: {true_ones()}\n{fleet.logs()}")


def test_a_killed_worker_is_seen_by_its_alert(watched):
    fleet, server = watched
    fleet.kill("c0")
    wait_for(lambda: server.states().get("TickStockProcessDown") == "pending", 20, server.states)
    assert server.values('up{job="worker"} == 1') == [1.0]


def test_without_a_bridge_the_fleet_s_figures_are_unknown_and_that_is_an_alert(watched):
    fleet, server = watched
    for name in ("bridge0", "bridge1"):
        fleet.kill(name)
    titles = {"Workers", "Partitions without owner", "Oldest unapplied tick", "Market", "Redis memory", "Open gaps"}
    figures = {each.expr for each in asked() if each.expr.endswith(OTHERWISE) and each.panel["title"] in titles}

    def known():
        return {expr: values for expr in figures if not all(map(math.isnan, values := server.values(expr)))}

    wait_for(lambda: not known(), 20, lambda: f"unknown instead of {known()}")
    expected = {"TickStockNoBridgeSpeaks", "TickStockLagUnknown"}
    wait_for(lambda: expected <= server.states().keys(), 20, server.states)
