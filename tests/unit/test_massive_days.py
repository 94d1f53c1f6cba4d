"""Bars of days and reference data by REST: what they become, and what happens when the vendor answers wrongly."""

from datetime import date, time
from fractions import Fraction
from uuid import uuid4

import pytest
from tickstockpl.contracts.daily.day_bars import day_number
from tickstockpl.contracts.daily.reference import Closure, Listing
from tickstockpl.contracts.errors import RestBroken
from tickstockpl.contracts.spellings.split_file import Split
from tickstockpl.ops.fake_massive import FakeMassive
from tickstockpl.ops.fake_massive.reference import DayRow, Reference
from tickstockpl.producer.flat_days import FlatDays
from tickstockpl.producer.massive.days import MassiveDays
from tickstockpl.producer.massive.reference import MassiveReference
from tickstockpl.producer.rest_client import RestClient

KEY = uuid4().hex  # a random one: no key stands in a file
FRIDAY, THURSDAY = date(2025, 11, 21), date(2025, 11, 20)
AAPL = DayRow("AAPL", 10.0, 12.0, 9.0, 11.0, 400.5)
BRK = DayRow("BRK.B", 500.0, 500.0, 500.0, 500.0, 7.0)


@pytest.fixture
def reference():
    return Reference(days={FRIDAY: [AAPL, BRK], THURSDAY: [AAPL._replace(close=9.5)]})


@pytest.fixture
def fake(reference):
    with FakeMassive(reference=reference, key=KEY) as server:
        yield server


@pytest.fixture
def client(fake):
    made = RestClient(fake.rest_url, KEY, per_minute=60_000, wait=lambda _: False)
    yield made
    made.close()


@pytest.fixture
def days(client):
    return MassiveDays(client)


def rows_of(bars):
    return [(s, *map(float, row)) for s, *row in zip(bars.symbols, *bars[1:7], strict=True)]


def row(symbol, day, *values):
    return (symbol, float(day_number(day)), *values)


def test_the_whole_market_of_a_day_is_one_request_with_raw_prices(days, fake):
    bars = days.grouped([FRIDAY], ["AAPL", "BRK.B", "NOPE"])
    assert rows_of(bars) == [
        row("AAPL", FRIDAY, 10.0, 12.0, 9.0, 11.0, 400.5),
        row("BRK.B", FRIDAY, 500.0, 500.0, 500.0, 500.0, 7.0),
    ]
    assert fake.requests == ["/v2/aggs/grouped/locale/us/market/stocks/2025-11-21?adjusted=false&include_otc=false"]


def test_a_symbols_days_are_one_request_and_an_unknown_symbol_has_none(days, fake):
    bars = days.aggregates([THURSDAY, FRIDAY], ["AAPL", "NOPE"])
    assert rows_of(bars) == [
        row("AAPL", THURSDAY, 10.0, 12.0, 9.0, 9.5, 400.5),
        row("AAPL", FRIDAY, 10.0, 12.0, 9.0, 11.0, 400.5),
    ]
    assert len(fake.requests) == 2


def test_a_day_without_data_is_no_bars(days):
    assert days.grouped([date(2025, 11, 19)], ["AAPL"]).symbols == []


def test_what_comes_twice_is_used_once_and_refused_where_it_differs(days, fake):
    fake.misbehave("duplicates")
    bars = days.grouped([FRIDAY], ["AAPL", "BRK.B"])
    assert bars.symbols == ["AAPL", "BRK.B"]
    assert bars.refused == []  # BRK.B's low is its close: the same again
    thursday = days.grouped([THURSDAY], ["AAPL"])
    assert [(one.symbol, one.day, one.why) for one in thursday.refused] == [
        ("AAPL", THURSDAY, "it comes twice, with other values")
    ]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"high": 10.5}, "its high is not its highest price, or its low its lowest"),
        ({"low": 0.0}, "a price out of range"),
        ({"open": None}, "a value is missing or no number"),
        ({"volume": -1.0}, "a volume out of range"),
    ],
)
def test_a_bar_that_cannot_be_is_refused_and_the_others_stand(days, reference, wrong, why):
    reference.days[FRIDAY][0] = AAPL._replace(**wrong)
    bars = days.grouped([FRIDAY], ["AAPL", "BRK.B"])
    assert bars.symbols == ["BRK.B"]
    assert bars.refused == [("AAPL", FRIDAY, why)]


@pytest.mark.parametrize("wrong", ["html", "truncated", "next_url_loop", "next_url_elsewhere"])
def test_an_answer_that_is_none_is_no_empty_day(client, fake, reference, wrong):
    reference.splits.append({"ticker": "AAPL", "execution_date": "2025-11-21", "split_from": 1, "split_to": 2})
    fake.misbehave(wrong)
    days, splits = MassiveDays(client).grouped, MassiveReference(client).splits
    ask, asked = (splits, (THURSDAY, FRIDAY)) if "url" in wrong else (days, ([FRIDAY], ["AAPL"]))
    with pytest.raises(RestBroken):
        ask(*asked)


def test_the_second_of_two_splits_that_contradict_each_other_is_refused(client, fake, reference):
    reference.splits.append({"ticker": "AAPL", "execution_date": "2025-11-21", "split_from": 2, "split_to": 3})
    fake.misbehave("duplicates")
    said = MassiveReference(client).splits(THURSDAY, FRIDAY)
    assert said.splits == [Split("AAPL", FRIDAY, Fraction(3, 2))]
    assert said.refused == ["AAPL on 2025-11-21 is listed twice, 3:2 and then 9:2: the first is used"]
    assert MassiveReference(client).splits(date(2025, 11, 22), date(2025, 11, 23)).splits == []


def test_tickers_come_in_pages_and_holidays_in_new_yorks_time(client, reference):
    rows = [{"ticker": f"S{i}", "name": f"Number {i}", "type": "CS", "active": True} for i in range(2001)]
    reference.tickers += [*rows, {"ticker": "OLD", "active": False}]
    ask = MassiveReference(client)
    assert [one.symbol for one in ask.tickers(active=True)] == [f"S{i}" for i in range(2001)]
    assert [(one.symbol, one.active) for one in ask.tickers(active=False)] == [("OLD", False)]
    day = {"exchange": "NYSE", "name": "Thanksgiving", "status": "early-close"}
    reference.holidays += [
        day | {"date": "2026-11-27", "open": "2026-11-27T14:30:00.000Z", "close": "2026-11-27T18:00:00.000Z"},
        day | {"date": "2026-11-26", "status": "closed"},
        day | {"date": "2026-11-26", "status": "closed", "exchange": "NASDAQ"},
    ]
    assert ask.closures() == [
        Closure(date(2026, 11, 27), time(13), "Thanksgiving"),
        Closure(date(2026, 11, 26), None, "Thanksgiving"),
    ]
    reference.listings += [{"ticker": "NEW", "listing_date": "2025-11-20"}, {"ticker": "SOON", "listing_date": "2026"}]
    assert ask.listings(THURSDAY, FRIDAY) == [Listing("NEW", THURSDAY)]


def test_flat_files_of_days_are_read_from_a_folder(tmp_path):
    header = "ticker,volume,open,close,high,low,window_start,transactions\n"
    lines = "AAPL,400,10,11,12,9,1763701200000000000,5\nNA,5,1,1,1,1,1763701200000000000,1\n"
    (tmp_path / "2025" / "11").mkdir(parents=True)
    (tmp_path / "2025" / "11" / "2025-11-21.csv").write_text(header + lines)
    (tmp_path / "2025-11-20.csv").write_text("no,table\n1,2\n")
    flat = FlatDays(tmp_path)
    bars = flat.read([date(2025, 11, 19), FRIDAY], ["AAPL", "NA"])
    assert rows_of(bars) == [
        row("AAPL", FRIDAY, 10.0, 12.0, 9.0, 11.0, 400.0),
        row("NA", FRIDAY, 1.0, 1.0, 1.0, 1.0, 5.0),
    ]
    assert [flat.has(day) for day in (FRIDAY, date(2025, 11, 19))] == [True, False]
    with pytest.raises(RestBroken, match=r"2025-11-20\.csv is not a file of day aggregates"):
        flat.read([THURSDAY], ["AAPL"])
