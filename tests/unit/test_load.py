"""Data loads as the application asks for them: every spelling that it was seen to send."""

import json

import pytest
from tickstockpl.contracts.daily.job import is_probe
from tickstockpl.contracts.daily.load import LoadRequest, read_cancel, read_load
from tickstockpl.contracts.errors import UsageError


def load(**fields):
    return read_load(json.dumps({"job_id": "5f0c", "requested_by": "admin", **fields}).encode())


@pytest.mark.parametrize(
    ("fields", "request_"),
    [
        (
            {"job_type": "historical_load", "symbols": ["AAPL", "IBM"], "years": 2, "timespan": "day",
             "timestamp": "2025-11-21T10:00:00"},
            {"symbols": ("AAPL", "IBM"), "years": 2.0},
        ),
        (
            {"job_type": "csv_universe_load", "csv_file": "dow_30.csv", "universe_type": "DOW30", "years": "0.5",
             "include_ohlcv": True},
            {"csv_file": "dow_30.csv", "name": "DOW30", "years": 0.5},
        ),
        (
            {"job_type": "csv_universe_load", "csv_file": "dow_30.csv", "symbols": "AAPL", "universe_type": "dow_30",
             "include_ohlcv": "false"},
            {"symbols": ("AAPL",), "name": "dow_30", "timeframes": ()},
        ),
        (
            {"job_type": "csv_universe_load", "source": "cache", "universe_key": "SPY:nasdaq100", "symbols": [],
             "timeframes": ["day", "week"], "run_analysis_after_import": True},
            {"universes": ("SPY:nasdaq100",), "timeframes": ("daily", "weekly"), "with_analysis": True},
        ),
        (
            {"job_type": "multi_timeframe_load", "symbols": ["AAPL"], "timeframes": ["hour", "Daily", "1month"],
             "years": 0.1},
            {"symbols": ("AAPL",), "timeframes": ("hourly", "daily", "monthly"), "years": 0.1},
        ),
        (
            {"job_type": "universe_seed", "universe_type": "SP500", "years": 1, "refresh": True},
            {"universes": ("SP500",)},
        ),
    ],
)  # fmt: skip
def test_every_type_of_job_is_read_in_its_spellings(fields, request_):
    asked = load(**fields)
    assert (asked.job_id, asked.requested_by, asked.why) == ("5f0c", "admin", None)
    assert asked.request == LoadRequest(job_type=fields["job_type"], **request_)


def test_years_are_trading_days():
    assert load(job_type="historical_load", symbols="A", years=2).request.sessions == 504
    assert load(job_type="historical_load", symbols="A", years=0.001).request.sessions == 1


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"job_type": "nonsense"}, "there is no job_type 'nonsense'; there are: historical_load, csv_universe_load"),
        ({"job_type": "historical_load"}, "symbols, csv_file or universe_type is needed"),
        ({"job_type": "historical_load", "symbols": ["A B"]}, "symbols, member 1: 'A B' is not a symbol"),
        ({"job_type": "historical_load", "symbols": ["A"], "years": float("nan")}, "years are"),
        ({"job_type": "historical_load", "symbols": ["A"], "years": -1}, "years are -1: a number up to 30 is needed"),
        ({"job_type": "historical_load", "symbols": ["A"], "timespan": "year"}, "there is no timeframe 'year'"),
        ({"job_type": "historical_load", "symbols": ["A"], "timeframes": [1]}, "timeframes are"),
        ({"job_type": "csv_universe_load", "csv_file": {"a": 1}}, "csv_file is"),
    ],
)
def test_what_cannot_be_done_has_its_job_and_a_reason(fields, why):
    text = json.dumps({"job_id": "5f0c", **fields}).replace("NaN", '"nan"')
    asked = read_load(text.encode())
    assert (asked.job_id, asked.request) == ("5f0c", None)
    assert why in asked.why


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"{}", b'{"job_id": 7}', b'{"job_id": "a b"}', b'{"job_id": ""}']
)
def test_a_message_without_a_job_is_refused(body):
    for read in (read_load, read_cancel):
        with pytest.raises(UsageError):
            read(body)


def test_a_cancel_names_its_job():
    assert read_cancel(b'{"job_id": "5f0c", "action": "cancel"}') == "5f0c"
    with pytest.raises(UsageError, match="there is no action 'pause'; there is: cancel"):
        read_cancel(b'{"job_id": "5f0c", "action": "pause"}')


def test_a_try_of_the_connection_is_no_job():
    assert is_probe(b'{"test": "connectivity"}')
    assert not is_probe(b'{"job_id": "1", "test": 1}')
    assert not is_probe(b"no json")
