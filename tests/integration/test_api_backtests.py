"""/api/backtests over HTTP, with processes that do the jobs."""

from urllib.parse import quote

import psycopg
import pytest
from backtest_rows import LAST, PATTERNS, add_wandering_days, ended, kept
from daily_rows import jobs

from .test_api import served

MINE, PLACE = "my/own", f"/api/backtests/{quote('my/own', safe='')}"
BODY = {"symbols": ["B", "A"], "patterns": PATTERNS, "start_date": "2024-11-21", "end_date": str(LAST)}


@pytest.fixture
def database(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        add_wandering_days(connection, "A", "B")
        yield connection


def test_a_backtest_is_started_once_watched_and_read_and_another_one_cancelled(database, migrated_servers, wait_for):
    with served(migrated_servers, api_key="secret") as api:
        key = {"X-API-Key": "secret"}
        assert api.post("/api/backtests", BODY).status_code == 401
        first = api.post("/api/backtests", BODY | {"job_id": MINE}, headers=key)
        assert (first.status_code, first.json().get("status")) == (200, "queued"), first.text
        assert api.post("/api/backtests", BODY | {"job_id": MINE}, headers=key).json() == first.json()
        taken = api.post("/api/backtests", BODY | {"job_id": MINE, "symbols": ["A"]}, headers=key)
        refusal = "another job has the id my/own: choose another job_id"
        assert (taken.status_code, taken.json()["message"]) == (409, refusal)
        twice = [api.post("/api/backtests", BODY, headers={**key, "Idempotency-Key": "k"}).json() for _ in range(2)]
        assert twice[0] == twice[1] != first.json()

        job_id = twice[0]["job_id"]
        assert api.delete(f"/api/backtests/{job_id}", headers=key).status_code == 200
        assert api.delete("/api/backtests/none", headers=key).status_code == 404
        assert api.get("/api/backtests/none").status_code == 404
        with jobs(migrated_servers):
            wait_for(lambda: ended(database, MINE) and ended(database, job_id))
        assert "has ended already: completed" in api.delete(PLACE, headers=key).json()["message"]
        listed = api.get("/api/backtests").json()["backtests"]
        one = api.get(PLACE).json()
        part = api.get(f"{PLACE}?trades=2&after=1").json()
    assert [(each["job_id"], each["status"], each["progress"]) for each in listed] == [
        (job_id, "cancelled", 0.0), (MINE, "completed", 100.0),
    ]  # fmt: skip
    assert one["backtest"] == listed[1]
    assert (one["backtest"]["symbols"], one["backtest"]["parameters"]["take_profit_pct"]) == (["A", "B"], 0.1)
    rows = kept(database, MINE)
    assert len(one["trades"]) == len(rows["backtest_trade"]) == one["backtest"]["results"]["total_trades"] > 10
    assert part["trades"] == one["trades"][1:3]
    assert len(one["equity"]) == len(rows["backtest_equity"]) > 250
    assert one["equity"][-1]["equity"] == one["metrics"]["account"]["final_equity"]


REFUSED = [
    (None, 422, "symbols, patterns, start_date and end_date are needed"),
    ({}, 422, "symbols"),
    (BODY | {"symbols": ["GONE"]}, 422, "1 symbols are unknown: GONE"),
    (BODY | {"patterns": ["Humbug"]}, 422, "there is no pattern Humbug; there are: Doji"),
    (BODY | {"end_date": "tomorrow"}, 422, "end_date is 'tomorrow': a day is needed, as 2025-11-28"),
    (BODY | {"symbols": [f"S{n}" for n in range(51)]}, 422, "51 symbols are too many: 50 at most"),
    (BODY | {"parameters": {"stop_los": 1}}, 422, "stop_los"),
    (BODY | {"parameters": {"slippage_rate": 1}}, 422, "slippage_rate: 1 is not between 0 and 0.01"),
]  # fmt: skip


def test_what_cannot_be_tested_is_refused_with_a_sentence(database, migrated_servers):
    with served(migrated_servers) as api:
        for body, code, why in REFUSED:
            answer = api.post("/api/backtests", body)
            assert (answer.status_code, why in answer.json()["message"]) == (code, True), (body, answer.text)
    assert database.execute("SELECT count(*) FROM run").fetchone() == (0,)
