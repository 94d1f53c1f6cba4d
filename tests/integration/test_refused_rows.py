"""What the database refuses: only that row is lost, as a dead letter."""

import json

import pytest
from tickstockpl.contracts.names import results_key

from .one_stream import LIVE, bars, dead_letters, execute, ledger

HEADER = "ticker,price,sip_timestamp,size"
NOON = 1_381_147_200_000_000_000  # 2013-10-07T12:00:00Z


def told_symbols(stream):
    messages = [json.loads(entry[b"body"]) for _, entry in stream.redis.xrange(results_key(0))]
    return sorted(bar["symbol"] for message in messages for bar in message["bars"])


def test_a_price_too_large_for_the_applications_column_is_refused_by_itself(stream, work):
    for name in ("open", "high", "low", "close"):
        execute(stream.servers, f"ALTER TABLE ohlcv_1min ALTER {name} TYPE numeric(10,4)")
    stream.send(("A", 10.0, 100), ("A", 5_000_000.0, 1), ("B", 20.0, 1), ("A", 999_999.0, 1))
    work(lambda: bars(stream.servers) == [("A", 10, 999_999, 101), ("B", 20, 20, 1)])
    ((_, reason, _, original),) = dead_letters(stream.servers)
    assert (reason, json.loads(original)["price"]) == ("price", 5_000_000.0)
    assert ledger(stream.servers) == {"ticks_in": 4, "applied": 3, "refused": 1}


def trigger(table, events, condition, how):
    """Return what makes a trigger of the application's that refuses rows."""
    return (
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {how}; END $$;"
        f" CREATE TRIGGER refuses BEFORE {events} ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()"
    )


@pytest.mark.parametrize(
    "refusal",
    [
        "ALTER TABLE ohlcv_1min ADD CONSTRAINT not_this_one CHECK (symbol <> 'BAD')",
        trigger("ohlcv_1min", "INSERT", "NEW.symbol = 'BAD'", "RAISE EXCEPTION 'not_this_one'"),
    ],
)
def test_a_bar_that_the_database_refuses_does_not_stop_the_others(refusal, stream, work):
    execute(stream.servers, refusal)
    stream.send(("A", 10.0, 100), ("BAD", 5.0, 7), ("B", 20.0, 1), ("BAD", 6.0, 8))
    work(lambda: bars(stream.servers) == [("A", 10, 10, 100), ("B", 20, 20, 1)])
    ((producer, reason, detail, original),) = dead_letters(stream.servers)
    assert (producer, reason) == (LIVE.producer, "unstorable")
    assert "not_this_one" in detail
    assert json.loads(original) == {
        "symbol": "BAD", "timestamp": stream.minute_ns // 10**9, "open": 5.0, "high": 6.0, "low": 5.0, "close": 6.0,
        "volume": 15.0, "vwap": 83 / 15, "trade_count": 2, "revision": 0,
    }  # fmt: skip
    assert ledger(stream.servers) == {"ticks_in": 4, "applied": 2, "refused": 2}


def test_a_bar_that_the_database_refuses_is_not_told(stream, work):
    execute(stream.servers, "ALTER TABLE ohlcv_1min ADD CHECK (symbol <> 'BAD')")
    stream.send(("A", 10.0, 100), ("BAD", 5.0, 7))
    work(lambda: told_symbols(stream) == ["A"])


def test_a_symbol_whose_first_bar_was_refused_gets_its_next_one(stream, work):
    execute(stream.servers, "ALTER TABLE ohlcv_1min ADD CHECK (high < 1000)")
    stream.send(("A", 10.0, 100), ("NEW", 5000.0, 7))
    work(lambda: len(dead_letters(stream.servers)) == 1)
    stream.send(("NEW", 50.0, 7, 1))
    work(lambda: bars(stream.servers) == [("A", 10, 10, 100), ("NEW", 50, 50, 7)])


def test_a_symbol_that_somebody_deleted_is_registered_again(stream, work):
    stream.send(("A", 10.0, 100))
    work(lambda: bars(stream.servers) == [("A", 10, 10, 100)])
    execute(stream.servers, "DELETE FROM ohlcv_1min")
    execute(stream.servers, "DELETE FROM symbols")
    stream.send(("A", 11.0, 100, 1))
    work(lambda: bars(stream.servers) == [("A", 11, 11, 100)])


def test_a_volume_that_outgrows_its_column_refuses_only_its_bar(stream, work):
    stream.send(("A", 10.0, 9e13), ("A", 10.0, 9e13), ("B", 20.0, 1))
    work(lambda: bars(stream.servers) == [("B", 20, 20, 1)])
    ((_, reason, detail, _),) = dead_letters(stream.servers)
    assert (reason, detail.split("\n")[0]) == ("unstorable", "numeric field overflow")
    assert ledger(stream.servers) == {"ticks_in": 3, "applied": 1, "refused": 2}


def test_the_driver_says_nothing_of_its_own(tmp_path, tickstock, migrated_servers):
    file = tmp_path / "trades.csv"
    file.write_text(f"{HEADER}\nA,10,{NOON},{9 * 10**13}\nA,10,{NOON},{9 * 10**13}\nB,20,{NOON},1\n")
    ran = tickstock("replay", file, "--workers", "1", "--partitions", "1", servers=migrated_servers)
    assert {reason for _, reason, *_ in dead_letters(migrated_servers)} == {"unstorable"}
    assert "psycopg" not in ran.stderr  # such lines hold addresses, whatever --log-level is


def test_a_sum_of_bars_that_no_column_holds_costs_its_higher_bars_and_no_worker(tmp_path, tickstock, migrated_servers):
    file = tmp_path / "trades.csv"
    trades = [("A", 9e13, 0), ("A", 9e13, 1), ("A", 1, 6), ("B", 1, 0), ("B", 1, 6)]
    rows = [f"{symbol},10,{NOON + minute * 60 * 10**9},{size:.0f}" for symbol, size, minute in trades]
    file.write_text("\n".join([HEADER, *rows]) + "\n")
    ran = tickstock("replay", file, "--workers", "1", "--partitions", "1", servers=migrated_servers)
    assert ran.returncode == 0, ran.stderr
    letters = dead_letters(migrated_servers)
    assert {letter[:2] for letter in letters} == {("detector", "unstorable_finding")}
    five = "SELECT symbol, volume::float8 FROM ohlcv_5min ORDER BY symbol, timestamp"
    assert ("B", 1.0) in execute(migrated_servers, five)
    assert ("A", 1.8e14) not in execute(migrated_servers, five)
    assert len(bars(migrated_servers)) == 5
    assert ledger(migrated_servers) == {"ticks_in": 5, "applied": 5}


def falling_to_a_doji():
    """Make ten falling bars and a Doji at the low: (prices, minutes later)."""
    fall = [(tuple(round(p + 0.3 * back, 1) for p in (10.0, 10.5, 9.5, 10.4)), -back) for back in range(10, 0, -1)]
    return [*fall, ((10.0, 10.5, 9.0, 10.0), 0)]


REFUSING_A = trigger(
    "intraday_patterns", "INSERT", "NEW.symbol = 'A'", "RAISE EXCEPTION 'not this' USING ERRCODE = 'X1111'"
)


@pytest.mark.parametrize(
    "refusal",
    [
        "ALTER TABLE intraday_patterns ADD CHECK (symbol <> 'A')",
        REFUSING_A,
        # At COMMIT.
        REFUSING_A.replace("TRIGGER refuses BEFORE", "CONSTRAINT TRIGGER refuses AFTER").replace(
            "FOR EACH", "DEFERRABLE INITIALLY DEFERRED FOR EACH"
        ),
    ],
)
def test_a_pattern_that_the_database_refuses_leaves_bars_and_other_symbols(refusal, stream, work):
    execute(stream.servers, refusal)
    ends = falling_to_a_doji()
    stream.send(*((symbol, price, 100, later) for symbol in "AB" for bar, later in ends for price in bar))
    found = "SELECT DISTINCT symbol FROM intraday_patterns WHERE pattern_type = 'Doji' AND timeframe = '1min'"
    work(lambda: execute(stream.servers, found) == [("B",)] and len(bars(stream.servers)) == 22)
    assert {reason for _, reason, *_ in dead_letters(stream.servers)} == {"unstorable_finding"}


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE intraday_patterns DROP COLUMN levels",
        "ALTER TABLE intraday_patterns RENAME TO patterns_of_before",
        "ALTER TABLE intraday_indicators DROP COLUMN metadata",
        "ALTER TABLE intraday_indicators RENAME TO old; CREATE VIEW intraday_indicators AS SELECT DISTINCT * FROM old",
    ],
)
def test_a_table_of_findings_that_changes_in_the_middle_stops_no_bar(stream, work, change):
    stream.send(("B", 10.0, 100))
    work(lambda: len(bars(stream.servers)) == 1)
    execute(stream.servers, change)
    ends = falling_to_a_doji()
    stream.send(*(("A", price, 100, later) for bar, later in ends for price in bar))
    lost = "SELECT DISTINCT reason FROM dead_letter"
    work(lambda: len(bars(stream.servers)) == 12 and execute(stream.servers, lost) == [("unstorable_finding",)])
    assert ledger(stream.servers) == {"ticks_in": 45, "applied": 45}


def test_a_column_that_we_can_do_without_may_go_in_the_middle(stream, work):
    stream.send(("B", 10.0, 100))
    work(lambda: len(bars(stream.servers)) == 1)
    execute(stream.servers, "ALTER TABLE intraday_indicators DROP COLUMN value")
    stream.send(*(("A", price, 100, later) for bar, later in falling_to_a_doji() for price in bar))
    averages = "SELECT count(*) FROM intraday_indicators WHERE indicator_type = 'SMA_5' AND timeframe = '1min'"
    work(lambda: execute(stream.servers, averages) == [(7,)])
    assert dead_letters(stream.servers) == []


def test_a_former_finding_that_the_database_keeps_stops_nothing(stream, work):
    kept = "RAISE EXCEPTION 'kept'"
    execute(stream.servers, trigger("intraday_patterns", "UPDATE", "true", kept))
    execute(stream.servers, trigger("intraday_indicators", "DELETE", "true", kept).replace("refuse()", "keep()"))
    ends = falling_to_a_doji()
    stream.send(*((symbol, price, 100, later) for symbol in "AB" for bar, later in ends for price in bar))
    found = "SELECT DISTINCT symbol FROM intraday_patterns WHERE pattern_type = 'Doji' AND timeframe = '1min'"
    values = "SELECT count(*) FROM intraday_indicators WHERE indicator_type = 'SMA_5' AND timeframe = '1min'"
    work(lambda: len(execute(stream.servers, found)) == 2 and execute(stream.servers, values) == [(14,)])
    stream.send(("A", 14.0, 100), ("C", 10.0, 100))  # A's bar is no Doji any more
    lost = "SELECT count(*) FROM dead_letter WHERE detail = 'kept' AND reason = 'unstorable_finding'"
    waiting = "SELECT undetected FROM checkpoint"
    work(lambda: len(bars(stream.servers)) == 23 and execute(stream.servers, waiting) == [(0,)])
    assert execute(stream.servers, lost) > [(1,)]
    assert execute(stream.servers, values) == [(14,)]
    assert ledger(stream.servers) == {"ticks_in": 90, "applied": 90}
