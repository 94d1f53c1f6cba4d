"""The library face: LiveOHLCVWriter and LivePatternDetector, for a caller with its own loop."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import psycopg
import pytest
from tickstockpl.contracts.errors import ServerAway, SetupError, TickStockError, UsageError
from tickstockpl.ohlcv_writer import LiveOHLCVWriter
from tickstockpl.pattern_detector import LivePatternDetector

from ..fleet.proxy import proxy_to

SEED_TICK = {
    "ticker": "AAPL",
    "price": 150.25,
    "volume": 1000,
    "timestamp": "2025-09-11T14:30:00Z",
    "event_type": "trade",
    "source": "polygon",
    "tick_open": 150.20,
    "tick_high": 150.30,
    "tick_low": 150.15,
    "tick_close": 150.25,
    "tick_volume": 1000,
    "tick_vwap": 150.22,
    "bid": 150.24,
    "ask": 150.26,
}
DATA_KEYS = [
    "symbol",
    "pattern",
    "confidence",
    "flow_id",
    "tier",
    "source",
    "price_change",
    "current_price",
    "volume",
    "timestamp",
    "expires_at",
    "indicators",
    "parts",
]
ANYWHERE = {"Doji": {"parameters": {"min_move": 0}}}  # not at the end of a move alone
MINUTE_ONLY = {"patterns": ANYWHERE, "timeframes": ["1min"]}


def tick(clock, price, volume=100, symbol="AAPL"):
    return {"symbol": symbol, "price": price, "volume": volume, "timestamp": f"2025-09-11T{clock}Z"}


def bars(servers):
    """Return each bar as text: symbol, minute, open, high, low, close, volume, trade_count, revision, provenance."""
    with psycopg.connect(servers.database_url) as connection:
        return connection.execute(
            """SELECT concat_ws(' ', symbol, to_char("timestamp" AT TIME ZONE 'UTC', 'HH24:MI'), trim_scale(open),
                      trim_scale(high), trim_scale(low), trim_scale(close), trim_scale(volume), trade_count, revision,
                      provenance)
                 FROM ohlcv_1min ORDER BY symbol, "timestamp" """
        ).fetchall()


def texts(servers):
    return [text for (text,) in bars(servers)]


def execute(servers, statement):
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def writer(migrated_servers):
    with LiveOHLCVWriter(migrated_servers.database_url, write_every_s=0) as writer:
        yield writer


# -- LiveOHLCVWriter ---------------------------------------------------------------------------------------------------


def test_a_minute_is_written_when_its_symbol_begins_the_next_one(writer, migrated_servers):
    for given in (tick("14:30:01", 10), tick("14:30:20", 12), tick("14:30:40", 9, 50), tick("14:30:59.9", 11)):
        writer.process_tick(given)
    assert bars(migrated_servers) == []
    writer.process_tick(tick("14:31:00", 13))
    assert texts(migrated_servers) == ["AAPL 14:30 10 12 9 11 350 4 0 live"]


def test_another_symbol_closes_no_minute(writer, migrated_servers):
    writer.process_tick(tick("14:30:01", 10))
    writer.process_tick(tick("14:31:01", 20, symbol="MSFT"))
    assert bars(migrated_servers) == []


def test_close_writes_the_open_minutes(migrated_servers):
    with LiveOHLCVWriter(migrated_servers.database_url) as writer:
        writer.process_tick(tick("14:30:01", 10))
        writer.process_tick(tick("14:30:02", 20.5, 1.5, symbol="BRK.B"))
    assert texts(migrated_servers) == [
        "AAPL 14:30 10 10 10 10 100 1 0 live",
        "BRK.B 14:30 20.5 20.5 20.5 20.5 1.5 1 0 live",
    ]


def test_a_minute_that_goes_on_after_a_flush_is_one_bar(writer, migrated_servers):
    writer.process_tick(tick("14:30:01", 10))
    writer.flush()
    writer.process_tick(tick("14:30:30", 12))
    writer.flush()
    assert texts(migrated_servers) == ["AAPL 14:30 10 12 10 12 200 2 1 live"]


def test_a_late_tick_is_merged_into_the_bar_that_stands(writer, migrated_servers):
    for given in (tick("14:30:10", 10), tick("14:30:20", 11), tick("14:31:00", 13), tick("14:32:00", 14)):
        writer.process_tick(given)
    writer.process_tick(tick("14:30:05", 9, 25))
    assert texts(migrated_servers)[0] == "AAPL 14:30 9 11 9 11 225 3 1 live"
    assert writer.counts.revisions == 1


def test_a_late_tick_is_merged_by_the_next_program_too(migrated_servers):
    for given in (tick("14:30:10", 10), tick("14:30:30", 12, 7)):
        with LiveOHLCVWriter(migrated_servers.database_url) as writer:
            writer.process_tick(given)
    assert texts(migrated_servers) == ["AAPL 14:30 10 12 10 12 107 2 1 live"]


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
def test_ticks_in_any_order_and_flushes_anywhere_give_the_bars_of_all_ticks(writer, migrated_servers, seed):
    rng = random.Random(seed)
    expected = {}
    for number in rng.sample(range(3600), 600):  # so many different times within 6 minutes
        symbol, price, volume = rng.choice(["AAPL", "BRK.B"]), rng.randrange(1000, 1100) / 4, rng.randrange(1, 900)
        at = f"14:{30 + number // 600}:{number % 600 / 10:04.1f}"
        expected.setdefault(f"{symbol} {at[:5]}", []).append((at, price, volume))
        writer.process_tick(tick(at, price, volume, symbol))
        if rng.random() < 0.02:
            writer.flush()
    writer.flush()
    assert [text.rsplit(" ", 2)[0] for text in texts(migrated_servers)] == [
        f"{place} {trades[0][1]:g} {max(t[1] for t in trades):g} {min(t[1] for t in trades):g} {trades[-1][1]:g} "
        f"{sum(t[2] for t in trades)} {len(trades)}"
        for place, trades in sorted((place, sorted(trades)) for place, trades in expected.items())
    ]


def test_the_tick_of_the_document_is_read_from_a_mapping_and_from_an_object(writer, migrated_servers):
    writer.process_tick(SEED_TICK)
    writer.process_tick(SimpleNamespace(**(SEED_TICK | {"ticker": "MSFT"})))
    writer.flush()
    assert texts(migrated_servers) == [
        "AAPL 14:30 150.25 150.25 150.25 150.25 1000 1 0 live",
        "MSFT 14:30 150.25 150.25 150.25 150.25 1000 1 0 live",
    ]


def test_a_second_of_the_application_gives_the_bar_its_own_prices(writer, migrated_servers):
    writer.process_tick(SEED_TICK | {"event_type": "A", "timestamp": "2025-09-11T14:31:00Z"})
    writer.flush()
    assert texts(migrated_servers) == ["AAPL 14:30 150.2 150.3 150.15 150.25 1000 1 0 live"]


@pytest.mark.parametrize(
    "stamp",
    [
        1757601010.5,
        1757601010500,
        1757601010500000000,
        np.int64(1757601010500),
        "2025-09-11T14:30:10.5Z",
        "2025-09-11T10:30:10.500-04:00",
        datetime(2025, 9, 11, 14, 30, 10, 500000, tzinfo=UTC),
        np.datetime64("2025-09-11T14:30:10.500"),
    ],
    ids=str,
)
def test_a_time_is_read_in_any_spelling(writer, migrated_servers, stamp):
    writer.process_tick({"symbol": "AAPL", "price": np.float32(1.5), "volume": Decimal("2.5"), "timestamp": stamp})
    writer.flush()
    assert texts(migrated_servers) == ["AAPL 14:30 1.5 1.5 1.5 1.5 2.5 1 0 live"]


def test_quotes_ticks_without_volume_and_probes_touch_no_bar(writer, migrated_servers):
    writer.process_tick(SEED_TICK | {"event_type": "Q"})
    writer.process_tick(tick("14:30:01", 10, 0))
    writer.process_tick({"test": "health_check"})
    writer.flush()
    assert bars(migrated_servers) == []
    assert writer.counts.quote_or_zero == 2


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"ticker": ""}, "symbol"),
        ({"price": float("nan")}, "price"),
        ({"price": -1}, "price"),
        ({"volume": "many"}, "size"),
        ({"timestamp": "today"}, "timestamp"),
        ({"timestamp": "2099-01-01T00:00:00Z"}, "future"),
        ({"event_type": "A", "tick_high": float("nan")}, "price"),
        ({"event_type": "news"}, "unknown_shape"),
    ],
)
def test_what_is_no_tick_is_refused_with_its_reason(writer, bad, reason):
    with pytest.raises(TickStockError) as refused:
        writer.process_tick(SEED_TICK | bad)
    assert refused.value.reason == reason


@pytest.mark.parametrize("what", [None, 7, "AAPL", [SEED_TICK]])
def test_what_is_neither_a_mapping_nor_like_a_tick_is_refused(writer, what):
    with pytest.raises(TickStockError) as refused:
        writer.process_tick(what)
    assert refused.value.reason == "not_an_object"


def test_a_bar_of_another_feed_stays_and_is_counted(writer, migrated_servers):
    writer.process_tick(tick("14:30:01", 10))
    writer.flush()
    execute(migrated_servers, "UPDATE recent_bar SET feed = 'live'")
    writer.process_tick(tick("14:30:02", 99))
    writer.process_tick(tick("14:31:02", 11))
    writer.flush()
    assert texts(migrated_servers) == ["AAPL 14:30 10 10 10 10 100 1 0 live", "AAPL 14:31 11 11 11 11 100 1 0 live"]
    assert writer.counts.superseded == 1


def test_ticks_taken_while_the_database_is_away_are_written_once_when_it_is_back(writer, migrated_servers):
    writer.process_tick(tick("14:30:01", 10))
    end_connections_of_the_library(migrated_servers)
    writer.process_tick(tick("14:31:01", 11))
    assert writer.counts.waiting == 1
    with pytest.raises(TickStockError, match="price"):
        writer.process_tick(tick("14:31:02", -1))
    writer.flush()
    assert texts(migrated_servers) == ["AAPL 14:30 10 10 10 10 100 1 0 live", "AAPL 14:31 11 11 11 11 100 1 0 live"]
    assert writer.counts.waiting == 0


def test_flush_says_that_the_database_is_away_and_the_next_one_writes(writer, migrated_servers):
    writer.process_tick(tick("14:30:01", 10))
    end_connections_of_the_library(migrated_servers)
    with pytest.raises(ServerAway):
        writer.flush()
    writer.flush()
    assert texts(migrated_servers) == ["AAPL 14:30 10 10 10 10 100 1 0 live"]


@pytest.mark.parametrize(
    "command", ["BEGIN", "pg_advisory_xact_lock", "COPY stage_bar", "pg_current_xact_id", "COMMIT"]
)
def test_bars_are_written_once_where_a_reply_is_lost(migrated_servers, command):
    url = urlsplit(migrated_servers.database_url)
    with proxy_to(url.hostname, url.port, {command.encode(): [1]}) as proxy:
        way = url._replace(netloc=f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}").geturl()
        with LiveOHLCVWriter(way) as writer:
            writer.process_tick(tick("14:30:01", 10))
            with pytest.raises(ServerAway):
                writer.flush()
            assert len(bars(migrated_servers)) == (command == "COMMIT")
            writer.process_tick(tick("14:30:02", 11))
            writer.flush()
            assert proxy.lost == 1
    (text,) = texts(migrated_servers)
    assert text.startswith("AAPL 14:30 10 11 10 11 200 2 ")


def test_a_bar_that_the_database_refuses_holds_up_no_other(writer, migrated_servers):
    execute(migrated_servers, "ALTER TABLE ohlcv_1min ADD CHECK (close <> 13)")
    for symbol, price in (("AAPL", 10), ("BAD", 13), ("MSFT", 12)):
        writer.process_tick(tick("14:30:01", price, symbol=symbol))
    writer.flush()
    assert texts(migrated_servers) == ["AAPL 14:30 10 10 10 10 100 1 0 live", "MSFT 14:30 12 12 12 12 100 1 0 live"]
    assert writer.counts.unstorable == 1


def test_the_configuration_may_be_a_mapping(migrated_servers):
    url = urlsplit(migrated_servers.database_url)
    config = {"host": url.hostname, "port": url.port, "database": url.path[1:], "user": url.username}
    config |= {"password": url.password} if url.password else {}
    if "host=" in url.query:  # a socket's folder
        config["host"] = url.query.split("host=")[1].split("&")[0].replace("%2F", "/")
    with LiveOHLCVWriter({name: value for name, value in config.items() if value is not None}) as writer:
        writer.process_tick(SEED_TICK)
    assert len(bars(migrated_servers)) == 1


def test_a_wrong_configuration_is_told_without_the_password():
    with pytest.raises(UsageError, match="hots") as refused:
        LiveOHLCVWriter({"hots": "localhost", "password": "not to be told"})
    assert "not to be told" not in str(refused.value)


def test_a_database_without_our_schema_is_refused_and_says_what_to_do(empty_servers):
    with pytest.raises(SetupError, match="tickstock migrate"):
        LiveOHLCVWriter(empty_servers.database_url)


def end_connections_of_the_library(servers):
    ended = execute(
        servers,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE application_name = 'tickstock-library' AND datname = current_database()",
    )
    assert ended == [(True,)]


# -- LivePatternDetector -----------------------------------------------------------------------------------------------


def ordinary_minutes(count=10, every=1):
    """Bars of 100.00 100.50 99.50 100.25, from 14:00 on: a body of 0.25 in a range of 1.00."""
    for minute in range(0, count * every, every):
        for second, price in (("01", 100), ("10", 100.5), ("20", 99.5), ("50", 100.25)):
            yield tick(f"14:{minute:02}:{second}", price)


def doji_at(minute):
    """A bar of 100.20 100.70 99.70 100.20: no body."""
    for second, price in (("01", 100.2), ("10", 100.7), ("20", 99.7), ("50", 100.2)):
        yield tick(f"14:{minute}:{second}", price, 25)


def found_by(detector, ticks):
    return [detection for given in ticks for detection in detector.analyze_tick(given)]


def test_a_doji_is_found_once_the_next_minute_begins():
    detector = LivePatternDetector(MINUTE_ONLY)
    assert found_by(detector, [*ordinary_minutes(), *doji_at(10)]) == []
    (detection,) = detector.analyze_tick(tick("14:11:00", 100.2))
    assert list(detection) == [*DATA_KEYS, "timeframe", "bar_start"]
    assert (detection["symbol"], detection["pattern"], detection["tier"]) == ("AAPL", "Doji", "intraday")
    assert (detection["confidence"], detection["current_price"], detection["volume"]) == (1.0, 100.2, 100)
    assert detection["price_change"] == pytest.approx(100 * (100.2 / 100.25 - 1), rel=1e-9)
    assert detection["flow_id"] == str(uuid5(NAMESPACE_URL, "tickstockpl:AAPL|Doji|1min|2025-09-11T14:10:00+00:00"))
    assert (detection["timeframe"], detection["bar_start"]) == ("1min", "2025-09-11T14:10:00+00:00")
    assert detection["expires_at"] == detection["timestamp"] + 3600


def test_flush_finds_what_is_on_the_open_minute_and_it_is_told_once():
    detector = LivePatternDetector(MINUTE_ONLY)
    found_by(detector, [*ordinary_minutes(), *doji_at(10)])
    assert [detection["pattern"] for detection in detector.flush()] == ["Doji"]
    assert detector.analyze_tick(tick("14:10:59", 100.2)) == []
    assert detector.analyze_tick(tick("14:11:00", 100.2)) == []
    assert detector.close() == []


def test_the_same_again_within_the_cool_down_is_told_once():
    detector = LivePatternDetector(MINUTE_ONLY)
    ticks = [*ordinary_minutes(), *doji_at(10), *doji_at(11), tick("14:12:00", 100.2)]
    assert [d["bar_start"] for d in found_by(detector, ticks)] == ["2025-09-11T14:10:00+00:00"]
    # A late tick takes the first one away: the second is the first of its event now.
    assert [d["bar_start"] for d in detector.analyze_tick(tick("14:10:55", 100.6))] == ["2025-09-11T14:11:00+00:00"]


def test_a_breakout_with_its_volume_is_one_detection_that_names_both():
    detector = LivePatternDetector({"timeframes": ["1min"]})
    rise = [tick("14:25:01", 100.3, 5_000), tick("14:25:50", 103, 5_000), tick("14:26:00", 103)]
    (detection,) = found_by(detector, [*ordinary_minutes(25), *rise])
    assert (detection["pattern"], [part["pattern"] for part in detection["parts"]]) == (
        "Price_Breakout",
        ["Volume_Spike"],
    )
    late = tick("14:25:55", 103.1)  # it closes the bar anew: all of it was told
    assert detector.analyze_tick(late) == []


def test_a_late_tick_that_makes_a_doji_has_it_found():
    detector = LivePatternDetector(MINUTE_ONLY)
    almost = [*list(doji_at(10))[:3], tick("14:10:50", 100.6)]
    assert found_by(detector, [*ordinary_minutes(), *almost, tick("14:11:00", 100.6)]) == []
    assert [d["bar_start"] for d in detector.analyze_tick(tick("14:10:55", 100.2))] == ["2025-09-11T14:10:00+00:00"]


@pytest.mark.parametrize(
    ("bars", "late"),
    [
        *((251, 5), (260, 14), (502, 14)),
        *(pytest.param(*many, marks=pytest.mark.slow) for many in ((502, 5), (513, 14), (760, 14))),
    ],
)
def test_a_late_tick_is_not_lost_however_many_bars_came_before(bars, late):
    start = datetime(2025, 9, 11, 8, 0, tzinfo=UTC)
    detector = LivePatternDetector(MINUTE_ONLY, always_open=True)
    prices = {"tick_open": 100, "tick_high": 100.5, "tick_low": 99.5, "tick_close": 100.25, "price": 100.25}
    aggregate = {"symbol": "AAPL", "volume": 100, "event_type": "A"} | prices  # one second has all prices of its bar
    ordinary = [aggregate | {"timestamp": start + timedelta(minutes=minute, seconds=30)} for minute in range(bars)]
    assert found_by(detector, ordinary) == []
    bar_start = start + timedelta(minutes=bars - 1 - late)
    closing = {"symbol": "AAPL", "volume": 100, "price": 100, "timestamp": bar_start + timedelta(seconds=59)}
    (detection,) = detector.analyze_tick(closing)  # where the bar opened
    assert detection["bar_start"] == bar_start.isoformat()


def test_before_the_opening_nothing_is_found_unless_a_pattern_asks_for_these_bars_or_the_market_never_closes():
    early = [
        given | {"timestamp": given["timestamp"].replace("T14:", "T12:")}  # 08:00 in New York
        for given in (*ordinary_minutes(), *doji_at(10), tick("14:11:00", 100.2))
    ]
    extended = {"patterns": {"Doji": {"parameters": {"min_move": 0, "session": "extended"}}}, "timeframes": ["1min"]}
    assert found_by(LivePatternDetector(MINUTE_ONLY), early) == []
    assert len(found_by(LivePatternDetector(extended), early)) == 1
    assert len(found_by(LivePatternDetector(MINUTE_ONLY, always_open=True), early)) == 1


def test_a_tick_from_before_the_first_bar_disturbs_nothing():
    detector = LivePatternDetector(MINUTE_ONLY)
    found_by(detector, ordinary_minutes(2))
    detector.analyze_tick({**tick("14:00:00", 100), "timestamp": "2025-09-11T13:59:00Z"})
    rest = [*list(ordinary_minutes())[8:], *doji_at(10), tick("14:11:00", 100.2)]
    assert len(found_by(detector, rest)) == 1


def test_a_tick_more_than_15_minutes_late_is_refused():
    detector = LivePatternDetector(MINUTE_ONLY)
    detector.analyze_tick(tick("14:30:00", 100))
    detector.analyze_tick(tick("14:15:00", 100))
    with pytest.raises(TickStockError) as refused:
        detector.analyze_tick(tick("14:14:59", 100))
    assert refused.value.reason == "too_late"


def test_a_higher_timeframe_closes_when_its_span_is_over():
    detector = LivePatternDetector({"patterns": ANYWHERE, "timeframes": ["5min"]})
    assert found_by(detector, [*ordinary_minutes(every=5), *doji_at(50)]) == []
    assert detector.analyze_tick(tick("14:54:00", 100.2)) == []
    (detection,) = detector.analyze_tick(tick("14:55:00", 100.2))
    assert (detection["timeframe"], detection["bar_start"]) == ("5min", "2025-09-11T14:50:00+00:00")
    assert detection["volume"] == 200


def test_flush_leaves_a_higher_bar_open_and_close_closes_it():
    detector = LivePatternDetector({"patterns": ANYWHERE})
    found_by(detector, [*ordinary_minutes(every=5), *doji_at(50)])
    assert [detection["timeframe"] for detection in detector.flush()] == ["1min"]
    assert [detection["timeframe"] for detection in detector.close()] == ["5min"]


def test_a_threshold_above_a_detection_hides_it():
    detector = LivePatternDetector({"patterns": {"Hammer": {"threshold": 1.0}}, "timeframes": ["1min"]})
    assert found_by(detector, [*ordinary_minutes(), *doji_at(10), tick("14:11:00", 100.2)]) == []


def test_without_a_configuration_the_defaults_are_on():
    names = {definition.kind.name for definition in LivePatternDetector().definitions.patterns}
    assert {"Doji", "Hammer", "HeadShoulders"} <= names


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"pattern": ["Doji"]}, "pattern"),
        ({"patterns": "Doji"}, "a list of names"),
        ({"patterns": ["Dojo"]}, "Dojo"),
        ({"patterns": {"Doji": {"threshold": 2}}}, "0 to 1"),
        ({"patterns": {"Doji": {"treshold": 0.5}}}, "treshold"),
        ({"patterns": {"Doji": {"parameters": {"body": 1}}}}, "body"),
        ({"patterns": {"Doji": {"parameters": {"max_body_of_range": 7}}}}, "max_body_of_range"),
        ({"timeframes": ["daily"]}, "daily"),
        (["Doji"], "not a mapping"),
    ],
)
def test_a_wrong_configuration_is_refused(config, said):
    with pytest.raises(UsageError, match=said):
        LivePatternDetector(config)


def test_a_closed_writer_takes_no_more_ticks(migrated_servers):
    writer = LiveOHLCVWriter(migrated_servers.database_url)
    writer.process_tick(tick("14:30:01", 150.0))
    writer.close()
    for late in (lambda: writer.process_tick(tick("14:31:01", 151.0)), writer.flush):
        with pytest.raises(UsageError, match="is closed"):
            late()
    writer.close()
    assert [bar.split()[:2] for (bar,) in bars(migrated_servers)] == [["AAPL", "14:30"]]
