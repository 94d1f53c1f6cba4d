"""The HTTP API on real servers, called as the application calls it: with `requests`, over HTTP."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
import requests
from ports import free_port
from tickstockpl.contracts.runs import RunParameters, WantedRun, phases_of
from tickstockpl.db.tables import runs
from tickstockpl.ops.api.who_may import rules_of
from tickstockpl.ops.wiring.api import Listening, run_api
from tickstockpl.ops.wiring.servers import Place

FRIDAY = date(2025, 11, 21)
CLOSES = datetime(2025, 11, 21, 21, tzinfo=UTC)


class Api:
    """An API that runs, and calls to it."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path, **how):
        return self._call("GET", path, **how)

    def post(self, path, body=None, **how):
        return self._call("POST", path, json=body, **how)

    def delete(self, path, **how):
        return self._call("DELETE", path, **how)

    def _call(self, method, path, **how):
        """Call; where PostgreSQL did not answer in time, as on a busy machine, call again, as the answer says."""
        for _ in range(20):
            answer = requests.request(method, self.url + path, timeout=10, **how)
            if answer.status_code != 503:
                break
            threading.Event().wait(float(answer.headers["Retry-After"]))
        return answer


@contextmanager
def served(servers, *, api_key=None, origins=(), hosts=("127.0.0.1",), port=None):
    """Serve the API in a thread of this process. port: a free one without it."""
    stop, port = threading.Event(), port or free_port()
    place = Place(servers, embedded=False, connect_timeout_s=30)
    rules = rules_of(names=[], origins=origins, api_key=api_key)
    listening = Listening(hosts, port)
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(run_api, place, listening, rules, name=uuid4().hex[:6], stop=stop)
        try:
            await_port(port, serving)
            yield Api(port)
        finally:
            stop.set()
            serving.result(30)


def await_port(port, serving):
    for _ in range(3000):
        assert not serving.done(), serving.result()
        try:
            requests.get(f"http://127.0.0.1:{port}/health", timeout=60)
        except requests.RequestException:
            threading.Event().wait(0.02)
        else:
            return
    raise AssertionError("the API does not answer")


@pytest.fixture(scope="module")
def api(module_servers):
    with served(module_servers) as one:
        yield one


@pytest.fixture
def database(module_servers):
    with psycopg.connect(module_servers.database_url, autocommit=True) as connection:
        yield connection
        connection.execute("DELETE FROM run")


def add_run(database, *phases, run_date=FRIDAY, **parameters):
    run_id = uuid4()
    assert runs.add_run(
        database, run_id, WantedRun(run_date, "manual", "all", phases_of(phases), RunParameters(**parameters))
    )
    return run_id


def end(database, run_id, status="completed"):
    database.execute(
        "UPDATE run SET status = %s, started_at = now() - interval '90 s', ended_at = now(), symbols_processed = 505,"
        " symbols_failed = 2, patterns = 1250, indicators = 7575 WHERE run_id = %s",
        [status, run_id],
    )


def test_an_empty_trigger_starts_a_run_of_everything(api, database):
    answer = api.post("/api/processing/trigger-manual")
    assert answer.status_code == 200
    body = answer.json()
    assert body == {"run_id": body["run_id"], "status": "started", "message": "Processing started successfully"}
    row = database.execute(
        "SELECT phases, universe, trigger, requested_by FROM run WHERE run_id = %s", [body["run_id"]]
    )
    assert row.fetchone() == (["import", "cache_sync", "indicators", "patterns"], "all", "manual", "api")


@pytest.mark.usefixtures("database")
def test_the_second_trigger_is_refused_and_names_the_run(api):
    run_id = api.post("/api/processing/trigger-manual", {"skip_market_check": True}).json()["run_id"]
    answer = api.post("/api/processing/trigger-manual", {"skip_market_check": True})
    assert (answer.status_code, answer.json()["run_id"]) == (409, run_id)


def test_of_100_triggers_at_once_one_starts_a_run_and_the_others_name_it(api, database):
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: api.post("/api/processing/trigger-manual"), range(100)))
    codes = [answer.status_code for answer in answers]
    assert (codes.count(200), codes.count(409)) == (1, 99)
    (started,) = database.execute("SELECT run_id::text FROM run").fetchall()
    assert {answer.json()["run_id"] for answer in answers} == set(started)


def test_the_same_idempotency_key_gets_the_same_answer_also_when_the_run_is_over(api, database):
    key = {"Idempotency-Key": uuid4().hex}
    first = api.post("/api/processing/trigger-import", {"lookback_days": 3}, headers=key)
    again = api.post("/api/processing/trigger-import", {"lookback_days": 3}, headers=key)
    end(database, first.json()["run_id"])
    later = api.post("/api/processing/trigger-import", {"lookback_days": 3}, headers=key)
    assert (first.status_code, first.json()) == (200, again.json()) == (200, later.json())
    assert database.execute("SELECT count(*) FROM run").fetchone() == (1,)


@pytest.mark.parametrize(
    ("path", "body", "phases", "parameters"),
    [
        ("manual", {"phases": ["data_import", "patterns"]}, ["import", "patterns"], {}),
        ("import", {"timeframes": ["daily"], "lookback_days": 20}, ["import"], {"lookback_days": 20}),
        ("import", {"universes": ["all"]}, ["import"], {"symbols": None}),
        ("indicators", {"timeframe": "daily", "indicators": ["RSI"]}, ["indicators"], {"indicators": ["RSI"]}),
        ("patterns", {"timeframe": "weekly", "patterns": ["Doji"]}, ["patterns"], {"timeframes": ["weekly"]}),
    ],
)
def test_each_trigger_asks_for_its_phases_and_parameters(api, database, path, body, phases, parameters):
    answer = api.post(f"/api/processing/trigger-{path}", body)
    assert answer.status_code == 200, answer.text
    found = database.execute("SELECT phases, parameters FROM run").fetchone()
    assert found[0] == phases
    assert {name: found[1][name] for name in parameters} == parameters


def test_symbols_and_universes_are_looked_up(api, database):
    database.execute("INSERT INTO symbols (symbol) VALUES ('AAPL') ON CONFLICT DO NOTHING")
    database.execute(
        "INSERT INTO ohlcv_daily (symbol, date, open, high, low, close, volume)"
        " VALUES ('AAPL', current_date - 30, 1, 1, 1, 1, 1) ON CONFLICT DO NOTHING"
    )
    database.execute(
        "INSERT INTO cache_entries (type, name, key, value) VALUES ('stock_universe', 'indices', 'sp500', '[\"AAPL\"]')"
    )
    run_id = api.post("/api/processing/trigger-manual", {"universe": "sp500"}).json()["run_id"]
    assert database.execute("SELECT universe FROM run").fetchone() == ("indices:sp500",)
    end(database, run_id)
    answer = api.post("/api/processing/trigger-indicators", {"symbols": ["AAPL"]})
    assert answer.status_code == 200, answer.text
    end(database, answer.json()["run_id"])
    answer = api.post("/api/processing/trigger-manual", {"universe": "nasdaq100"})
    assert (answer.status_code, answer.json()) == (
        422,
        {"message": "there is no universe 'nasdaq100'; there are: indices:sp500"},
    )


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("manual", {"phases": ["nonsense"]}, "there is no phase nonsense; there are: all, import, cache_sync"),
        ("manual", {"universe": "@/etc/passwd"}, "there is no universe '@/etc/passwd'"),
        ("manual", {"run_date": "2025-02-31"}, "run_date"),
        ("manual", {"run_date": "2125-11-21"}, "2125-11-21 is in the future"),
        ("manual", {"run_date": "2025-11-22"}, "the market was closed on 2025-11-22"),
        ("manual", {"skip_market_check": 7}, "skip_market_check"),
        ("manual", ["all"], "object"),
        ("import", {"timeframes": ["5min"]}, "there is no timeframe 5min; there are: daily, weekly, monthly"),
        ("import", {"lookback_days": 0}, "lookback_days"),
        ("indicators", {"symbols": ["NOPE"]}, "1 symbols have no bars: NOPE"),
        ("indicators", {"indicators": ["RSY"]}, "did you mean RSI?"),
        ("patterns", {"patterns": ["Doj"]}, "did you mean Doji?"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_known_ones_and_starts_nothing(api, database, path, body, says):
    answer = api.post(f"/api/processing/trigger-{path}", body)
    assert (answer.status_code, says in answer.json()["message"]) == (422, True), answer.text
    assert database.execute("SELECT count(*) FROM run").fetchone() == (0,)


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"skip_market_check=1", "application/x-www-form-urlencoded", 415),
        (b"", "text/plain", 415),
        (b'{"universe": "' + b"x" * 70_000 + b'"}', "application/json", 413),
    ],
)
def test_a_body_that_is_no_json_or_too_large_is_refused(api, database, body, kind, code):
    url = f"{api.url}/api/processing/trigger-manual"
    answer = requests.post(url, data=body, headers={"Content-Type": kind}, timeout=10)
    assert (answer.status_code, list(answer.json())) == (code, ["message"])
    assert database.execute("SELECT count(*) FROM run").fetchone() == (0,)


@pytest.mark.usefixtures("database")
def test_without_a_run_the_status_is_idle(api):
    body = api.get("/api/processing/status").json()
    assert body.pop("as_of")
    assert body == {
        "is_running": False, "status": "idle", "run_id": None, "current_phase": None, "progress": 0.0,
        "symbols_processed": 0, "symbols_total": 0, "start_time": None, "estimated_completion": None,
    }  # fmt: skip


def test_the_status_says_how_far_a_run_is(api, database):
    run_id = add_run(database, "import", "patterns")
    database.execute(
        "UPDATE run SET status = 'running', phase = 'patterns', started_at = now() - interval '90 s',"
        " symbols = '{A,B,C,D}'"
    )
    steps = (
        "INSERT INTO run_step (run_id, phase, timeframe, batch, symbols, token, status)"
        " VALUES (%s, %s, 'daily', %s, %s, 1, %s)"
    )
    database.execute(steps, [run_id, "patterns", 1, ["A", "B"], "done"])
    database.execute(steps, [run_id, "patterns", 2, ["C", "D"], "waiting"])
    body = api.get("/api/processing/status").json()
    assert body["is_running"]
    assert (body["run_id"], body["status"], body["current_phase"]) == (str(run_id), "running", "patterns")
    assert (body["progress"], body["symbols_processed"], body["symbols_total"]) == (75.0, 2, 4)  # 1.5 of 2 phases
    left = datetime.fromisoformat(body["estimated_completion"]) - datetime.fromisoformat(body["as_of"])
    assert abs(left - timedelta(seconds=30)) < timedelta(seconds=1)  # 90 s for 3 quarters


def test_a_run_that_nobody_moves_on_is_not_said_to_run(api, database):
    add_run(database, "all")
    database.execute("UPDATE run SET created_at = now() - interval '2 min'")
    body = api.get("/api/processing/status").json()
    assert (body["is_running"], body["status"]) == (False, "queued")
    database.execute("INSERT INTO lease (unit, owner, renewed_at) VALUES ('jobs', 'x', now())")
    assert api.get("/api/processing/status").json()["is_running"]
    database.execute("DELETE FROM lease")


def test_the_history_has_the_pages_words_the_newest_first(api, database):
    first = add_run(database, "all")
    end(database, first)
    second = add_run(database, "all")
    end(database, second, "failed")
    body = api.get("/api/processing/history", params={"days": 7}).json()
    assert [(run["run_id"], run["status"]) for run in body["runs"]] == [
        (str(second), "failed"),
        (str(first), "success"),
    ]
    run = body["runs"][1]
    start, ended = (datetime.fromisoformat(run.pop(name)) for name in ("start_time", "end_time"))
    assert abs((ended - start).total_seconds() - 90) < 1
    assert 89 < run.pop("duration_seconds") < 91
    assert run == {
        "run_id": str(first), "run_date": "2025-11-21", "trigger_type": "manual", "status": "success",
        "phases": ["import", "cache_sync", "indicators", "patterns"], "universe": "all", "symbols_processed": 505,
        "symbols_failed": 2, "patterns_detected": 1250, "indicators_calculated": 7575, "error": None,
    }  # fmt: skip


def test_a_cancel_marks_the_run_and_a_cancel_of_nothing_is_refused(api, database):
    run_id = add_run(database, "all")
    answer = api.delete("/api/processing/cancel")
    assert (answer.status_code, answer.json()["run_id"]) == (200, str(run_id))
    assert database.execute("SELECT status FROM run").fetchone() == ("cancelling",)
    end(database, run_id, "cancelled")
    answer = api.delete("/api/processing/cancel")
    assert (answer.status_code, answer.json()) == (404, {"message": "no run is active: there is nothing to cancel"})


def test_a_retry_does_again_what_failed(api, database):
    original = add_run(database, "import", timeframes=("daily",))
    database.execute(
        "INSERT INTO run_step (run_id, phase, timeframe, batch, symbols, token, status)"
        " VALUES (%s, 'import', '', 1, '{AAPL,MSFT}', 1, 'failed')",
        [original],
    )
    assert api.post("/api/processing/retry-imports", {"original_run_id": str(original)}).status_code == 409
    end(database, original, "failed")
    answer = api.post("/api/processing/retry-imports", {"original_run_id": str(original)})
    assert answer.status_code == 200, answer.text
    columns = "trigger, original_run_id, parameters -> 'symbols', parameters -> 'timeframes'"
    run = f"SELECT {columns} FROM run WHERE run_id = %s"
    row = database.execute(run, [answer.json()["run_id"]]).fetchone()
    assert row == ("retry", original, ["AAPL", "MSFT"], ["daily"])


@pytest.mark.parametrize(
    ("body", "code"),
    [(None, 422), ({}, 422), ({"original_run_id": "x"}, 422), ({"original_run_id": str(UUID(int=1))}, 404)],
)
def test_a_retry_of_an_unknown_run_is_refused(api, body, code):
    assert api.post("/api/processing/retry-imports", body).status_code == code


def test_the_schedule_is_read_and_changed(api):
    api.post("/api/processing/schedule", {"enabled": True})  # the tests' database has it off
    body = api.get("/api/processing/schedule").json()
    assert datetime.fromisoformat(body.pop("next_run")) > datetime.now(UTC)
    assert body == {
        "enabled": True, "trigger_time": "16:10", "timezone": "America/New_York", "universes": [],
        "market_check": True, "after_close": False,
    }  # fmt: skip
    changed = api.post("/api/processing/schedule", {"enabled": False, "trigger_time": "16:15"}).json()
    assert (changed["enabled"], changed["trigger_time"], changed["next_run"]) == (False, "16:15", None)
    assert api.get("/api/processing/schedule").json() == changed
    for wrong in ({"trigger_time": "25:00"}, {"universes": ["nope"]}, {"enabled": "yes"}):
        assert api.post("/api/processing/schedule", wrong).status_code == 422


def test_a_cache_sync_is_accepted_and_followed(api, database):
    answer = api.post("/api/processing/cache-sync/trigger", {"mode": "market_cap", "force": True})
    job_id = answer.json()["job_id"]
    assert answer.status_code == 202
    assert database.execute("SELECT phases, parameters ->> 'cache_mode' FROM run").fetchone() == (
        ["cache_sync"],
        "market_cap",
    )
    job = api.get(f"/api/processing/cache-sync/status/{job_id}", headers={"X-API-Key": "tickstock-cache-sync-2025"})
    assert (job.json()["job_id"], job.json()["mode"], job.json()["status"]) == (job_id, "market_cap", "queued")
    end(database, job_id)
    job = api.get(f"/api/processing/cache-sync/status/{job_id}").json()
    assert (job["status"], job["progress"], job["triggered_by"]) == ("completed", 100.0, "api")
    assert api.get("/api/processing/cache-sync/history").json() == {"jobs": [job]}
    stats = api.get("/api/processing/cache-sync/stats").json()
    assert (stats["total"], stats["completed"], stats["running"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("post", "/api/processing/cache-sync/trigger", 422),
        ("get", f"/api/processing/cache-sync/status/{UUID(int=1)}", 404),
        ("get", "/api/processing/cache-sync/status/nonsense", 404),
        ("get", "/api/processing/history?days=0", 422),
        ("get", "/api/processing/history?days=x", 422),
        ("get", "/api/bars", 422),
        ("get", "/api/bars?symbol=NOPE", 404),
        ("get", "/api/bars?symbol=AAPL&timeframe=2min", 422),
        ("get", "/api/bars?symbol=AAPL&from=yesterday", 422),
        ("get", "/api/bars?symbol=AAPL&limit=1001", 422),
        ("get", "/api/patterns?pattern=Doj", 422),
        ("get", "/api/indicators?symbol=AAPL&indicator=RSY", 422),
        ("get", "/api/gaps?state=x", 422),
        ("get", "/events?kinds=x", 422),
        ("get", "/nothing", 404),
    ],
)
def test_each_refusal_is_an_object_with_one_sentence(api, method, path, code):
    answer = requests.request(method, api.url + path, json={"mode": "x"} if method == "post" else None, timeout=10)
    assert (answer.status_code, list(answer.json())) == (code, ["message"]), answer.text


def test_a_key_that_was_used_for_another_request_starts_nothing_and_says_so(api, database):
    key = {"Idempotency-Key": uuid4().hex}
    first = api.post("/api/processing/trigger-import", {"lookback_days": 3}, headers=key).json()["run_id"]
    others = [
        ("trigger-import", {"lookback_days": 4}),
        ("trigger-indicators", None),
        ("trigger-manual", None),
        ("cache-sync/trigger", {"mode": "full"}),
    ]
    answers = [api.post(f"/api/processing/{path}", body, headers=key) for path, body in others]
    assert [one.status_code for one in answers] == [409] * 4
    assert all(first in one.json()["message"] for one in answers)
    assert database.execute("SELECT count(*) FROM run").fetchone() == (1,)


def test_the_day_of_a_run_is_a_part_of_the_request_that_an_idempotency_key_names(api, database):
    """A request without a day means the last trading day when it was first sent, also if it is repeated later."""

    def trigger(key, day):
        body = {"phases": ["import"]} | ({"run_date": day} if day else {})
        answer = api.post("/api/processing/trigger-manual", body, headers={"Idempotency-Key": key})
        return answer.status_code, answer.json().get("run_id") or answer.json()["message"]

    given, none = uuid4().hex, uuid4().hex
    code, first = trigger(given, "2025-11-28")
    assert code == 200
    end(database, first)
    assert trigger(given, "2025-11-28") == (200, first)
    for other in ("2025-11-26", None):
        code, message = trigger(given, other)
        assert (code, first in message) == (409, True), (other, message)
    code, latest = trigger(none, None)
    end(database, latest)
    assert trigger(none, None) == (code, latest) == (200, latest)
    assert trigger(none, "2025-11-28")[0] == 409
    # As if it had been sent on Thanksgiving, 27 November, in New York: the last trading day was the 26th.
    earlier = "UPDATE run SET run_date = '2025-11-26', created_at = '2025-11-28 04:00Z' WHERE run_id = %s"
    database.execute(earlier, [latest])
    assert trigger(none, None) == trigger(none, "2025-11-26") == (200, latest)
    assert database.execute("SELECT count(*) FROM run").fetchone() == (2,)


@pytest.mark.parametrize("body", [b"[" * 30_000, b'{"a":' * 9_000 + b"1" + b"}" * 9_000], ids=["lists", "objects"])
def test_a_body_that_is_nested_too_deeply_is_refused(api, body):
    answer = requests.post(
        f"{api.url}/api/processing/trigger-import", data=body, headers={"Content-Type": "application/json"}, timeout=10
    )
    assert (answer.status_code, answer.json()) == (400, {"message": "the body is nested too deeply"})


def test_a_refused_parameter_is_named_as_the_caller_wrote_it(api):
    answer = api.get("/api/bars?symbol=AAPL&from=yesterday&to=tomorrow")
    named = dict(part.split(": ") for part in answer.json()["message"].split("; "))
    assert named == dict.fromkeys(("from", "to"), "not a time such as 2025-11-21T14:31:00Z")


@pytest.mark.parametrize("path", ["/health", "/api/fleet/hour", "/", "/api/processing/status"])
def test_head_answers_with_the_headers_of_get(api, path):
    head, got = (requests.request(method, api.url + path, timeout=10) for method in ("HEAD", "GET"))
    assert (head.status_code, head.content) == (got.status_code, b"") == (200, b"")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]


def test_head_of_the_endless_events_is_refused(api):
    assert requests.head(f"{api.url}/events", timeout=10).status_code == 405
