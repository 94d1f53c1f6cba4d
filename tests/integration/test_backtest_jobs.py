"""Backtests as jobs on real servers: messages that become rows, what is said on the way, and what is kept."""

import json
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import psycopg
import pytest
import redis
from backtest_rows import LAST, PATTERNS, Application, add_wandering_days, ended, kept, said, said_of
from daily_rows import OPENS, add_minutes, jobs, rows
from tickstockpl.contracts.names import JOBS_BACKTEST, JOBS_CANCEL

JOB = "backtest_1732185600_5f0c"


@pytest.fixture
def database(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        yield connection


@contextmanager
def application(servers, wait_for, *, count=1):
    """Run processes; yield who sends them jobs, once they listen."""
    with redis.Redis.from_url(servers.redis_url) as client, jobs(servers, count=count):
        sender = Application(client)
        wait_for(lambda: sender.listeners() == count, 30)
        yield sender


def test_a_job_is_done_once_and_leaves_the_bytes_of_the_command(database, migrated_servers, wait_for, tickstock):
    """It is heard by two processes, and sent three times; another one with the same defaults has the same rows."""
    add_wandering_days(database, "A", "B")
    defaults = {
        "initial_capital": 100_000, "commission_rate": 0.001, "slippage_rate": 0.0005, "max_position_size": 0.1,
        "stop_loss_pct": 0.05, "take_profit_pct": 0.10,
    }  # fmt: skip
    with application(migrated_servers, wait_for, count=2) as sender:
        for _ in range(2):
            sender.ask(JOB)
        wait_for(lambda: ended(database, JOB))
        sender.ask(JOB, symbols=["A"])
        sender.ask("again", symbols="B,A", parameters=defaults)
        wait_for(lambda: ended(database, "again"))
    asked = "SELECT kind, status, requested_by, symbols_processed FROM run"
    assert rows(database, asked) == [("backtest", "completed", "7", 2)] * 2
    assert kept(database, JOB) == kept(database, "again")
    assert len(kept(database, JOB)["backtest_trade"]) > 10
    assert rows(database, "SELECT count(*) FROM backtest_part") == [(0,)]

    span = ("--from", "2024-11-21", "--to", LAST)
    command = tickstock(
        *("backtest", "--symbols", "A,B", "--patterns", ",".join(PATTERNS), *span, "--json"), servers=migrated_servers
    )
    shown = tickstock("backtests", "show", JOB, "--json", servers=migrated_servers)
    assert (shown.returncode, shown.stdout) == (0, command.stdout)

    *progress, (name, results) = said_of(database, JOB)
    assert {one for one, _ in progress} == {"progress"}
    shares = [body["progress"] for _, body in progress]
    assert (shares[0], shares[-1], shares) == (0.0, 1.0, sorted(shares))
    assert isinstance(progress[-1][1]["estimated_completion"], float)
    assert (name, results["status"]) == ("results", "completed")
    report = json.loads(command.stdout)
    flat = results["results"]
    assert flat["total_return"] == report["account"]["total_return"]
    assert (flat["total_trades"], flat["win_rate"]) == (report["trades"]["trades"], report["trades"]["win_rate"])
    assert {type(value) for value in flat.values()} <= {int, float, str, type(None)}


def test_a_job_of_the_command_is_watched_and_of_minutes_leaves_the_same_bytes(
    database, migrated_servers, wait_for, tickstock
):
    prices = 50 * np.exp(np.cumsum(np.random.default_rng(14).normal(0, 0.002, 390)))
    for day in range(2):
        add_minutes(database, "A", *prices.round(2).tolist(), opens=OPENS - timedelta(days=day))
    what = ("--symbols", "A", "--patterns", ",".join(PATTERNS), "--from", LAST - timedelta(days=1), "--to", LAST)
    options = (*what, "--timeframe", "5min", "--stop-loss-pct", 0)
    with application(migrated_servers, wait_for):
        started = tickstock("backtests", "start", *options, "--job-id", "shell", servers=migrated_servers)
    assert started.returncode == 0, started.stderr
    assert "completed" in started.stdout
    command = tickstock("backtest", *options, "--json", servers=migrated_servers)
    shown = tickstock("backtests", "show", "shell", "--json", servers=migrated_servers)
    assert shown.stdout == command.stdout
    assert json.loads(shown.stdout)["trades"]["trades"] > 2
    (listed,) = map(json.loads, tickstock("backtests", "ls", "--json", servers=migrated_servers).stdout.splitlines())
    assert (listed["job_id"], listed["status"], listed["progress"]) == ("shell", "completed", 1.0)
    cancelled = tickstock("backtests", "cancel", "shell", servers=migrated_servers)
    assert (cancelled.returncode, "has ended already: completed" in cancelled.stderr) == (1, True)


def test_a_cancel_ends_a_job_within_a_second_and_one_that_has_not_come_yet(database, migrated_servers, wait_for):
    symbols = [f"S{n:02}" for n in range(50)]
    add_wandering_days(database, *symbols)
    with application(migrated_servers, wait_for) as sender:
        sender.cancel("later")
        wait_for(lambda: ended(database, "later"))
        sender.ask("later", symbols=symbols)
        sender.ask("now", symbols=symbols)
        wait_for(lambda: rows(database, "SELECT FROM run_step WHERE status = 'done'"))
        # As a step does whose rows refer to the run: neither may wait for the other.
        with psycopg.connect(migrated_servers.database_url) as step:
            step.execute("SELECT FROM run WHERE job_id = 'now' FOR KEY SHARE")
            sender.cancel("now")
            wait_for(lambda: ended(database, "now"))
        sender.ask("last", symbols=symbols[:2])
        wait_for(lambda: ended(database, "last"))
    assert rows(database, "SELECT job_id, kind, status, error FROM run ORDER BY 1") == [
        ("last", "backtest", "completed", None), ("later", "backtest", "cancelled", None),
        ("now", "backtest", "cancelled", None),
    ]  # fmt: skip
    assert rows(database, "SELECT job_id FROM backtest_result JOIN run USING (run_id)") == [("last",)]
    assert rows(database, "SELECT count(*) FROM backtest_part") == [(0,)]
    for job in ("now", "later"):
        told = [(body["status"], body["results"]) for name, body in said_of(database, job) if name == "results"]
        assert told == [("failed", {"error": "cancelled"})]
    took = "SELECT extract(epoch FROM ended_at - heard_at)::float FROM run WHERE job_id = 'now'"
    assert 0 < rows(database, took)[0][0] < 1


REFUSED = [
    ({"symbols": ["A", "GONE"]}, "1 symbols are unknown: GONE"),
    ({"symbols": [f"S{n}" for n in range(51)]}, "51 symbols are too many: 50 at most"),
    ({"symbols": []}, "symbols is needed"),
    ({"symbols": [7]}, "symbols, member 1"),
    ({"patterns": ["Humbug"]}, "there is no pattern Humbug; there are: Doji"),
    ({"patterns": None}, "patterns is needed"),
    ({"patterns": [["Doji"]]}, "a list of names is needed"),
    ({"start_date": "21.11.2024"}, "start_date is '21.11.2024': a day is needed"),
    ({"start_date": str(LAST)}, "is not after the start"),
    ({"end_date": "2199-01-04"}, "has not come yet"),
    ({"start_date": "2020-11-21"}, "1,826 days from 2020-11-21 to 2025-11-21 are too many: 1,825 at most"),
    ({"timeframe": "2min"}, "there is no timeframe 2min"),
    ({"timeframe": "1min", "parameters": {"stop_los": 1}},
     "there is no parameter 'stop_los'; there are: initial_capital"),
    ({"parameters": {"commission_rate": 0.02}}, "commission_rate: 0.02 is not between 0 and 0.01"),
    ({"parameters": {"stop_loss_pct": "5 %"}}, "parameters: "),
    ({"parameters": {"initial_capital": float("nan")}}, "no JSON"),
    ({"type": "cancel_job"}, "there is no type 'cancel_job'; there is: backtest_job"),
]  # fmt: skip


def test_what_cannot_be_tested_is_refused_with_a_sentence_once(database, migrated_servers, wait_for):
    add_wandering_days(database, "A", days=2)
    with application(migrated_servers, wait_for, count=2) as sender:
        for number, (fields, _) in enumerate(REFUSED):
            sender.ask(f"bad-{number}", **fields)
        for bad in (b"\xff", b"[]", b'{"job_id": "two words"}', {"test": "connectivity"}):
            sender.send(JOBS_BACKTEST, bad)
            sender.send(JOBS_CANCEL, bad)
        sender.ask("empty", symbols=["A"], start_date="2022-01-03", end_date="2022-03-01")
        database.execute("UPDATE pattern_definitions SET enabled = true, parameters = '[]' WHERE name = 'Hammer'")
        sender.ask("wrong", symbols=["A"], patterns=["Hammer"])
        wait_for(lambda: ended(database, "empty") and ended(database, "wrong"))
    errors = [body["message"] for channel, body in said(database) if channel == "tickstock:errors"]
    assert len(errors) == len(REFUSED) + 6
    for number, (fields, why) in enumerate(REFUSED):
        told = [body for name, body in said_of(database, f"bad-{number}") if name == "results"]
        if why != "no JSON":
            assert [(body["status"], why in body["results"]["error"]) for body in told] == [("failed", True)], fields
            assert sum(why in error for error in errors) >= 1
    assert [said_of(database, job)[-1][1]["results"]["error"] for job in ("empty", "wrong")] == [
        "no daily bars of these symbols from 2022-01-03 to 2022-03-01",
        "the row of Hammer in pattern_definitions is wrong: parameters is not a JSON object",
    ]
