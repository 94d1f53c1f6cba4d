"""Backtests on the page: started by the form, watched, read, seen on the candles, and cancelled."""

import json
import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import psycopg
import pytest
from backtest_rows import LAST, PATTERNS, add_wandering_days, ended
from daily_rows import OPENS, add_minutes, jobs
from database_hour import set_hour
from tickstockpl.db import postgres
from tickstockpl.workers.backtest.rules import Rules
from tickstockpl.workers.detect.definitions import seed_definitions

from ..integration.test_api import served
from .conftest import PHONE, WIDE

LISTED, TRADES, FIGURES = "Backtests, the newest first", "Trades, in the order of their entries", "Figures"
HOSTILE = "<img/src=x/onerror=alert(1)>"


@pytest.fixture
def database(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        seed_definitions(connection)
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        add_wandering_days(connection, *"ABCD")
        yield connection


@contextmanager
def held_up(servers):
    """Let nobody read a bar of a day meanwhile, so that a backtest on days runs and does not end."""
    with psycopg.connect(servers.database_url) as connection:
        connection.execute("LOCK TABLE ohlcv_daily IN ACCESS EXCLUSIVE MODE")
        yield


def fill_form(page, symbols, patterns=PATTERNS, first="2024-11-21", last=str(LAST)):
    form = page.get_by_role("form", name="Start a backtest")
    if not form.is_visible():
        page.get_by_text("Start a backtest").first.click()
    form.get_by_label("Symbols, at most 50").fill(symbols)
    form.get_by_role("button", name="None").click()
    for name in patterns:
        form.get_by_role("checkbox", name=re.compile(rf"^{name}\b")).check()
    form.get_by_label("From").fill(first)
    form.get_by_label("To", exact=True).fill(last)
    return form


def request_of(database):
    """Return the latest job and its request."""
    return database.execute("SELECT job_id, request FROM run ORDER BY created_at DESC LIMIT 1").fetchone()


def point_at(page, text):
    """Move the mouse over the candles until the line below them says this; return its place."""
    box = page.locator(".trade .canvas").bounding_box()
    for x in range(0, int(box["width"]) - 60, 5):
        at = box["x"] + x, box["y"] + box["height"] / 2
        page.mouse.move(*at)
        if page.locator(".trade-read").inner_text().startswith(text):
            return at
    raise AssertionError(f"no candle says {text}: {page.locator('.trade-read').inner_text()}")


def a_link_shows_trade_7(visitor, link, width, axe):
    page = visitor.open(link)
    page.locator(".trade-words").get_by_text("trade 7").wait_for()
    page.locator(".trade .canvas canvas").first.wait_for()
    page.wait_for_function("scrollY > 300")  # the trade is in view
    visitor.picture(f"backtests-{width}-trade")
    page.evaluate("scrollTo(0, 0)")
    page.get_by_text("Start a backtest").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    visitor.picture(f"backtests-{width}")
    assert visitor.faults(axe) == []
    assert visitor.complaints() == []


def test_a_backtest_of_days_from_the_form_to_a_trade_on_its_candles(database, migrated_servers, visit, axe):
    with served(migrated_servers) as api, jobs(migrated_servers):
        visitor = visit(api.url)
        page = visitor.open("#backtests")
        page.get_by_text("no backtest in the last 90 days").wait_for()
        with held_up(migrated_servers):
            form = fill_form(page, "B, C D")
            form.get_by_role("combobox", name="Find a symbol").fill("A")
            form.get_by_role("combobox", name="Find a symbol").press("Enter")
            form.get_by_role("button", name="Start the backtest").click()
            page.get_by_text("It runs: first the signals").wait_for()
            page.reload()  # in the middle
            page.get_by_text("It runs: first the signals").wait_for()
            assert visitor.rows(LISTED)[0][2].startswith("running 0 %")
            assert page.get_by_label("Progress of the backtest").is_visible()
        job, request = request_of(database)
        assert f"job={job}" in page.url
        assert request == {
            "symbols": [*"ABCD"], "patterns": PATTERNS, "start": "2024-11-21", "end": "2025-11-21",
            "timeframe": "daily", "rules": {
                "initial_capital": 100_000, "commission_rate": 0.001, "slippage_rate": 0.0005, "max_position_size": 0.1,
                "stop_loss_pct": 0.05, "take_profit_pct": 0.1, "max_bars": None, "short": True,
            },
        }  # fmt: skip

        page.get_by_text("The account made").wait_for()
        one = api.get(f"/api/backtests/{job}").json()
        account, total = one["metrics"]["account"], one["metrics"]["trades"]["trades"]
        assert visitor.rows(FIGURES)[0][1] == f"{account['total_return']:.1%}".replace("%", " %")
        assert visitor.rows(FIGURES)[6][1] == f"{account['final_equity']:,.2f}"
        assert [row[0] for row in visitor.rows("By symbol")] == ["all", *"ABCD"]
        assert [row[0] for row in visitor.rows("By pattern")] == ["all", *PATTERNS]
        assert visitor.rows("By symbol")[0][1] == str(total)
        page.locator(".equity .canvas canvas").first.wait_for()
        assert len(visitor.rows(TRADES)) == 100 < total
        page.get_by_role("button", name="Later").click()
        page.locator("[data-trade='101']").wait_for()
        page.reload()
        page.locator(f"[data-trade='{total}']").wait_for()
        assert len(visitor.rows(TRADES)) == total - 100
        page.get_by_role("button", name="Earlier").click()

        chosen = one["trades"][6]
        page.locator("[data-trade='7'] button").click()
        page.locator(".trade-words").get_by_text(f"{chosen['symbol']} daily, trade 7").wait_for()
        entered, left = chosen["entry_time"][:10], chosen["exit_time"][:10]
        assert f"in {entered} at {chosen['entry_price']:,.2f}, out {left}" in page.locator(".trade-words").inner_text()
        page.locator(".trade .canvas canvas").first.wait_for()
        x, y = point_at(page, left)
        page.emulate_media(color_scheme="dark")  # it paints the chart anew, and scrolls it nowhere
        page.mouse.move(x, y + 3)
        assert page.locator(".trade-read").inner_text().startswith(left)
        assert visitor.complaints() == []

        link = page.url.removeprefix(f"{api.url}/")
        for size in (WIDE, PHONE):
            a_link_shows_trade_7(visit(api.url, size=size), link, size["width"], axe)


def test_a_trade_within_a_day_is_seen_on_minutes_where_longer_bars_are_missing(database, migrated_servers, visit):
    prices = 50 * np.exp(np.cumsum(np.random.default_rng(14).normal(0, 0.002, 390)))
    for day in range(2):
        add_minutes(database, "A", *prices.round(2).tolist(), opens=OPENS - timedelta(days=day))
    with served(migrated_servers) as api, jobs(migrated_servers):
        visitor = visit(api.url)
        visitor.page.route("**/page/built/*", lambda route: route.fulfill(status=404, body="{}"))
        page = visitor.open("#backtests")
        form = fill_form(page, "A", first=str(LAST - timedelta(days=1)))
        form.get_by_label("Timeframe").select_option("5min")
        form.get_by_label("Stop").fill("0")
        form.get_by_role("button", name="Start the backtest").click()
        page.get_by_text("The account made").wait_for()
        page.get_by_text("The charts library was not built").first.wait_for()
        page.get_by_text("Equity as a table").click()
        one = api.get(f"/api/backtests/{request_of(database)[0]}").json()
        assert [row[1] for row in visitor.rows("Equity")] == [f"{p['equity']:,.2f}" for p in reversed(one["equity"])]
        page.locator("#zone").select_option("UTC")

        visitor.page.unroute("**/page/built/*")
        page.reload()
        page.locator("[data-trade='1'] button").click()
        entered = one["trades"][0]["entry_time"][:16].replace("T", " ")
        page.get_by_text("There are no 5min bars of these minutes").wait_for()
        page.locator(".trade-words").get_by_text(f"in {entered} UTC").wait_for()
        page.locator(".trade .canvas canvas").first.wait_for()
        visitor.picture("backtests-minutes")
        page.locator("[data-trade='1'] button").press("Enter")  # it has kept the focus
        page.get_by_role("button", name="Close the trade").click()
        page.locator(".trade").wait_for(state="hidden")
        assert "trade=" not in page.url


def add_longer_bars(database):
    for table, start, unit in (("ohlcv_weekly", "week_start", "week"), ("ohlcv_monthly", "month_start", "month")):
        database.execute(
            f"INSERT INTO {table} (symbol, {start}, open, high, low, close, volume)"
            f" SELECT symbol, date_trunc('{unit}', date)::date, (array_agg(open ORDER BY date))[1], max(high),"
            " min(low), (array_agg(close ORDER BY date DESC))[1], sum(volume) FROM ohlcv_daily GROUP BY 1, 2"
        )


@pytest.mark.parametrize(
    ("timeframe", "says"),
    [("weekly", ""), ("monthly", ""), ("daily", "The prices of the trade differ from its candle: the backtest counts")],
)
def test_a_trade_of_a_week_a_month_or_a_day_before_a_split(database, migrated_servers, visit, timeframe, says):
    add_wandering_days(database, "TEN", days=2600)  # ten years
    add_longer_bars(database)
    if says:
        database.execute("INSERT INTO corporate_action (symbol, ex_date, ratio) VALUES ('TEN', '2025-11-03', 4)")
    body = {"symbols": ["TEN"], "patterns": PATTERNS, "start_date": "2020-11-23", "end_date": str(LAST)}
    with served(migrated_servers) as api, jobs(migrated_servers):
        job = api.post("/api/backtests", body | {"timeframe": timeframe}).json()["job_id"]
        visitor = visit(api.url)
        page = visitor.open(f"#backtests?job={job}&trade=1")
        page.locator(".trade-words").get_by_text(f"TEN {timeframe}, trade 1:").wait_for()
        page.locator(".trade .canvas canvas").first.wait_for()
        trade = api.get(f"/api/backtests/{job}").json()["trades"][0]
        assert page.locator(".trade .message").inner_text().startswith(says)
        assert page.locator(".trade .message").is_visible() == bool(says)
        assert page.locator(".trade-read").inner_text().startswith(trade["entry_time"][:10])
        point_at(page, trade["exit_time"][:10])
        visitor.picture(f"backtests-{timeframe}")
        assert visitor.complaints() == []


def test_a_refusal_is_a_sentence_and_a_cancel_asks_once_more(database, migrated_servers, visit, axe):
    request = {"symbols": ["A"], "patterns": ["Doji"], "start": "2025-11-03", "end": "2025-11-21", "timeframe": "daily"}
    database.execute(
        "INSERT INTO run (run_id, kind, job_id, run_date, trigger, universe, phases, request, requested_by, status,"
        " ended_at, error) VALUES (gen_random_uuid(), 'backtest', %s, '2025-11-21', 'manual', '', '{}', %s, %s,"
        " 'failed', now(), %s)",
        [HOSTILE, json.dumps(request | {"rules": msgspec.to_builtins(Rules())}), HOSTILE, HOSTILE],
    )
    with served(migrated_servers, api_key="right") as api:
        visitor = visit(api.url)
        page = visitor.open("#backtests")
        page.get_by_role("link", name=HOSTILE).click()
        page.get_by_text(f"It failed: {HOSTILE}.").wait_for()  # as text
        assert page.get_by_role("heading", name=f"Backtest {HOSTILE}").is_visible()
        assert visitor.rows(LISTED)[0][-1] == HOSTILE

        form = fill_form(page, "A, GONE")
        form.get_by_label("Slippage").fill("much")
        form.get_by_role("button", name="Start the backtest").click()
        form.get_by_text('Not started: Slippage: "much" is not a number.').wait_for()
        form.get_by_label("Slippage").fill("0.5")
        form.get_by_role("button", name="Start the backtest").click()
        field = page.get_by_label("Key", exact=True)
        field.fill("right")
        field.press("Enter")
        form.get_by_text("Not started: slippage_rate: 0.5 is not between 0 and 0.01.").wait_for()
        form.get_by_label("Slippage").fill("")  # the default
        form.get_by_role("button", name="Start the backtest").click()
        form.get_by_text("Not started: 1 symbols are unknown: GONE.").wait_for()
        visitor.picture("backtests-refused")
        assert visitor.faults(axe) == []

        form.get_by_label("Symbols, at most 50").fill("A")
        form.get_by_role("button", name="Start the backtest").click()
        page.get_by_text("It is queued").wait_for()
        job, request = request_of(database)
        assert (request["symbols"], request["rules"]["slippage_rate"]) == (["A"], 0.0005)
        page.once("dialog", lambda dialog: dialog.dismiss())
        page.get_by_role("button", name="Cancel the backtest").click()
        assert database.execute("SELECT status FROM run WHERE job_id = %s", [job]).fetchone() == ("queued",)
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name=f"Cancel {job}").click()
        page.get_by_text(f"Backtest {job} is being cancelled.").wait_for()
        with jobs(migrated_servers):
            page.get_by_text("It was cancelled, so it has no result.").wait_for()
            assert ended(database, job) == "cancelled"
            page.get_by_role("button", name="Change and start again").click()
            assert form.get_by_label("Symbols, at most 50").input_value() == "A"
            fill_form(page, "A", ["ConcealingBabySwallow"])  # too rare for these days
            form.get_by_role("button", name="Start the backtest").click()
            page.get_by_text("It has no trade: these patterns gave no signal on these days.").wait_for()
            assert visitor.rows(FIGURES)[2] == ["Sharpe", "-", visitor.rows(FIGURES)[2][2]]
        visitor.open("#backtests?job=never")
        page.get_by_text("there is no backtest never").wait_for()
        assert all("401" in said or "422" in said or "404" in said for said in visitor.complaints())


def test_the_form_proposes_the_year_before_the_databases_day_and_keeps_chosen_days(database, migrated_servers, visit):
    set_hour(database, migrated_servers, datetime(2026, 3, 9, 3, 59, tzinfo=UTC))  # before midnight in New York
    with served(migrated_servers) as api:
        visitor = visit(api.url)
        page = visitor.open("#backtests")
        page.get_by_text("Start a backtest").first.click()
        first, last = page.get_by_label("From"), page.get_by_label("To", exact=True)
        page.wait_for_function("document.querySelectorAll('input[type=date]')[1].value === '2026-03-08'")
        assert first.input_value() == "2025-03-08"
        first.fill("2025-12-01")
        with page.expect_response("**/api/backtests?*"):
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.get_by_text("no backtest in the last 90 days").wait_for()
        assert (first.input_value(), last.input_value()) == ("2025-12-01", "2026-03-08")
