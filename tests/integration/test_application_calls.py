"""The calls that the application makes over HTTP, in the order of its pages: what it sends, and what it reads.

It sends no key (but for cache syncs), waits two seconds, takes any 2xx with an object for a success, and shows of all
others only the code. A page asks for the status before each call that starts or ends something.
"""

import socket
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import psycopg
import pytest
import requests
from daily_rows import add_days, ended, jobs

from .test_api import served

CLIENT_S, HEALTH_S, SYNC_S, SYNC_STATUS_S = 2, 5, 10, 5
KEY = {"X-API-Key": "tickstock-cache-sync-2025", "Content-Type": "application/json"}  # it has one of its own
SYMBOLS = ["AAPL", "MSFT"]
YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


class Application:
    """Its client: one session, `localhost`, no headers of its own."""

    def __init__(self, url):
        self.url = url.replace("127.0.0.1", "localhost")
        self._session = requests.Session()

    def get(self, path, timeout=CLIENT_S, **how):
        return self._object(self._session.get(self.url + path, timeout=timeout, **how))

    def post(self, path, body, timeout=CLIENT_S, code=200, **how):
        return self._object(self._session.post(self.url + path, json=body, timeout=timeout, **how), code)

    def delete(self, path):
        return self._object(self._session.delete(self.url + path, timeout=CLIENT_S))

    def status(self):
        return self.get("/api/processing/status")

    @staticmethod
    def _object(answer, code=200):
        answer.raise_for_status()
        assert answer.status_code == code
        body = answer.json()
        assert isinstance(body, dict), body
        return body


@pytest.fixture(scope="module")
def application(module_servers):
    with psycopg.connect(module_servers.database_url, autocommit=True) as connection:
        for symbol in SYMBOLS:
            add_days(connection, symbol, [10.0 + day % 7 for day in range(60)], last=YESTERDAY)
        connection.execute(
            "INSERT INTO cache_entries (type, name, key, value)"
            " VALUES ('stock_universe', 'indices', 'sp500', '[\"AAPL\", \"MSFT\"]')"
        )
    with served(module_servers) as api:
        yield Application(api.url)


@pytest.fixture
def database(module_servers):
    with psycopg.connect(module_servers.database_url, autocommit=True) as connection:
        yield connection
        connection.execute("DELETE FROM run")


@contextmanager
def refused(code):
    with pytest.raises(requests.HTTPError) as refusal:
        yield
    assert refusal.value.response.status_code == code, refusal.value.response.text


@pytest.mark.usefixtures("database")
def test_the_page_of_daily_runs_is_drawn_from_three_reads(application):
    assert application.get("/health", HEALTH_S)["services"]["api"] == "healthy"
    status = application.status()
    assert [status[name] for name in ("is_running", "run_id", "current_phase", "progress")] == [False, None, None, 0]
    schedule = application.get("/api/processing/schedule")
    assert (schedule["enabled"], schedule["trigger_time"], schedule["market_check"]) == (False, "16:10", True)
    assert (schedule["timezone"], schedule["universes"], schedule["next_run"]) == ("America/New_York", [], None)
    assert application.get("/api/processing/history", params={"days": 7}) == {"runs": []}


def test_its_form_changes_the_schedule(application, database):
    form = {"enabled": True, "trigger_time": "21:10", "market_check": False}
    changed = application.post("/api/processing/schedule", form)
    assert changed.items() >= form.items()
    assert changed["next_run"].endswith("Z")
    application.post("/api/processing/schedule", {"universes": ["sp500"], "enabled": False})
    schedule = application.get("/api/processing/schedule")
    assert (schedule["trigger_time"], schedule["universes"]) == ("21:10", ["sp500"])
    database.execute("UPDATE schedule SET trigger_time = '16:10', market_check = true, universes = '{}'")


def test_a_run_is_started_refused_twice_cancelled_and_done_again(application, database):
    """No process does it: it waits, so the page has all the time to ask."""
    started = application.post("/api/processing/trigger-manual", {"skip_market_check": True, "phases": ["all"]})
    assert (started["status"], "message" in started) == ("started", True)
    status = application.status()
    assert (status["is_running"], status["run_id"]) == (True, started["run_id"])
    assert status.keys() >= {"symbols_processed", "symbols_total", "start_time", "estimated_completion"}
    (run,) = application.get("/api/processing/history", params={"days": 30})["runs"]
    assert (run["run_id"], run["trigger_type"], run["end_time"]) == (started["run_id"], "manual", None)
    again = {"original_run_id": started["run_id"]}
    with refused(409):
        application.post("/api/processing/trigger-manual", {"skip_market_check": False, "phases": ["all"]})
    with refused(409):
        application.post("/api/processing/retry-imports", again)
    assert application.delete("/api/processing/cancel")["message"]
    database.execute(
        "INSERT INTO run_step (run_id, phase, timeframe, batch, symbols, token, status)"
        " VALUES (%s, 'import', '', 1, '{AAPL}', 1, 'cancelled')",
        [started["run_id"]],
    )
    database.execute("UPDATE run SET status = 'cancelled', ended_at = now()")
    with refused(404):
        application.delete("/api/processing/cancel")
    status = application.status()
    assert (status["is_running"], status["run_id"]) == (False, started["run_id"])  # the page does that one again
    assert application.post("/api/processing/retry-imports", again)["run_id"] != started["run_id"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("import", {"universes": ["sp500"], "timeframes": ["daily", "weekly"], "lookback_days": 30}),
        ("indicators", {"timeframe": "daily"}),
        ("indicators", {"timeframe": "daily", "symbols": ["AAPL"], "indicators": ["RSI"]}),
    ],
)
def test_each_form_of_the_page_makes_a_run_that_ends_well(application, database, module_servers, wait_for, path, body):
    with jobs(module_servers):
        started = application.post(f"/api/processing/trigger-{path}", body)
        assert started["message"]
        ended(database, started["run_id"], wait_for)
    assert application.status()["is_running"] is False
    (run,) = application.get("/api/processing/history", params={"days": 7})["runs"]
    assert (run["run_id"], run["status"], run["symbols_failed"]) == (started["run_id"], "success", 0)
    assert run["symbols_processed"] == len(body.get("symbols", SYMBOLS))
    assert run["duration_seconds"] > 0
    assert run["start_time"].endswith("Z")
    assert {"patterns_detected", "indicators_calculated"} <= run.keys()


@pytest.mark.usefixtures("database")
def test_a_rebuild_of_the_cache_is_accepted_and_followed(application):
    started = application.post(
        "/api/processing/cache-sync/trigger", {"mode": "full", "force": True}, SYNC_S, headers=KEY, code=202
    )
    path = f"/api/processing/cache-sync/status/{started['job_id']}"
    assert application.get(path, SYNC_STATUS_S, headers={"X-API-Key": KEY["X-API-Key"]})["status"] == "queued"


@pytest.mark.slow
def test_a_connection_that_the_page_uses_each_five_seconds_is_kept(application):
    """It asks for the status with a pause of five seconds: a server that ends idle connections just then breaks one."""
    host, port = urlsplit(application.url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=5.5) as one:
        one.sendall(b"GET /api/processing/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert one.recv(65536).startswith(b"HTTP/1.1 200")
        with pytest.raises(TimeoutError):
            one.recv(1)  # else it was closed
