"""What the API reads of the tables, and /events: each result once, also for a client that comes again."""

import json
import threading
from datetime import datetime, timedelta

import psycopg
import pytest
import requests
from tickstockpl.contracts.partition import partition_of
from tickstockpl.db import postgres
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.ops.api.live import events

from .test_api import served

PARTITIONS = 2


@pytest.fixture(scope="module")
def database(module_servers):
    with postgres.connect(module_servers.database_url, name="test") as connection:
        open_stream(connection, PARTITIONS)
        fill(connection)
    with psycopg.connect(module_servers.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def api(module_servers, database):  # noqa: ARG001  # it makes the stream
    with served(module_servers) as one:
        yield one


def fill(database):
    database.execute("INSERT INTO symbols (symbol) VALUES ('AAPL'), ('EMPTY')")
    database.execute(
        'INSERT INTO ohlcv_1min (symbol, "timestamp", open, high, low, close, volume, vwap, trade_count, provenance)'
        " SELECT 'AAPL', '2025-11-21 14:30Z'::timestamptz + make_interval(mins => i), 10 + i, 12 + i, 9 + i, 11 + i,"
        " 100.5, 10.5, 7, 'live' FROM generate_series(0, 4) AS i"
    )
    database.execute(
        "INSERT INTO ohlcv_daily (symbol, date, open, high, low, close, volume, provenance)"
        " VALUES ('AAPL', '2025-11-21', 10, 16, 9, 15, 502.5, 'own')"
    )
    pattern = json.dumps({"direction": 1, "bar": {"close": 15.0, "volume": 100.5}})
    database.execute(
        "INSERT INTO intraday_patterns (id, symbol, pattern_type, confidence, pattern_data, detection_timestamp,"
        " expiration_timestamp, levels, metadata) VALUES (1, 'AAPL', 'Hammer', 0.85, %s, now(), now(), '{14.5}', '{}')",
        [pattern],
    )
    minute = 29_395_594  # 2025-11-21T14:34Z, since 1970
    database.execute(
        "INSERT INTO detection_flow (flow_id, symbol, timeframe, minute, pattern, pattern_id)"
        " VALUES ('00000000-0000-0000-0000-000000000001', 'AAPL', 1, %s, 'Hammer', 1)",
        [minute],
    )
    database.execute(
        "INSERT INTO daily_patterns (symbol, pattern_type, confidence, pattern_data, detection_timestamp,"
        " expiration_date, levels, metadata) VALUES ('AAPL', 'Doji', 0.6, %s, '2025-11-21 21:00Z', now(), '{}',"
        ' \'{"bar_start": "2025-11-21T00:00:00+00:00", "flow_id": "00000000-0000-0000-0000-000000000002"}\')',
        [pattern],
    )
    database.execute(
        "INSERT INTO intraday_indicators (symbol, indicator_type, value, value_data, calculation_timestamp,"
        " expiration_timestamp, timeframe)"
        " VALUES ('AAPL', 'RSI', 72.5, '{\"rsi_14\": 72.5}', '2025-11-21 14:35Z', now(), '1min')"
    )
    database.execute(
        "INSERT INTO dead_letter (partition, producer, reason, detail, original, entry)"
        " VALUES (0, 'p', 'bad_price', E'price \\x1b[31m', %s, '1-1')",
        [b'{"a":"\x1b[31m"}' + b"x" * 5000],
    )
    database.execute(
        "INSERT INTO gap (feed, first_minute, last_minute, why) VALUES ('live', %s, %s, 'connection lost')",
        [minute, minute + 1],
    )


def test_the_last_bars_come_oldest_first(api):
    body = api.get("/api/bars", params={"symbol": "AAPL", "limit": 2}).json()
    assert (body["symbol"], body["timeframe"]) == ("AAPL", "1min")
    assert [bar["time"] for bar in body["bars"]] == ["2025-11-21T14:33:00Z", "2025-11-21T14:34:00Z"]
    assert body["bars"][1] == {
        "time": "2025-11-21T14:34:00Z", "open": 14.0, "high": 16.0, "low": 13.0, "close": 15.0, "volume": 100.5,
        "vwap": 10.5, "trades": 7, "provenance": "live", "revision": 0,
    }  # fmt: skip


def test_bars_of_a_time_and_of_days(api):
    chosen = {"symbol": "AAPL", "from": "2025-11-21T14:31:00Z", "to": "2025-11-21T14:33:00Z"}
    found = [bar["time"] for bar in api.get("/api/bars", params=chosen).json()["bars"]]
    assert found == ["2025-11-21T14:31:00Z", "2025-11-21T14:32:00Z"]
    (day,) = api.get("/api/bars", params={"symbol": "AAPL", "timeframe": "daily"}).json()["bars"]
    assert (day["time"], day["close"], day["provenance"], day["vwap"]) == ("2025-11-21", 15.0, "own", None)
    assert api.get("/api/bars", params={"symbol": "EMPTY"}).json()["bars"] == []


@pytest.mark.parametrize(
    ("times", "is_there"),
    [
        ({"from": "2025-11-21T05:00:00Z"}, True),  # midnight in New York
        ({"from": "2025-11-21T05:00:01Z"}, False),
        ({"from": "2025-11-21T00:00:00-05:00", "to": "2025-11-22T00:00:00-05:00"}, True),
        ({"from": "2025-11-20T22:00:00-05:00"}, True),  # in UTC it is the 21st
        ({"to": "2025-11-21T05:00:00Z"}, False),
        ({"to": "2025-11-21T15:00:00Z"}, True),  # the day has begun
        ({"to": "2025-11-21T00:00:00Z"}, False),
        ({"from": "2025-11-21T00:00:00"}, True),
        ({"from": "2025-11-21T20:00:00-05:00"}, False),
    ],
)
def test_a_day_begins_at_midnight_in_new_york(api, times, is_there):
    found = api.get("/api/bars", params={"symbol": "AAPL", "timeframe": "daily", **times}).json()["bars"]
    assert [bar["time"] for bar in found] == ["2025-11-21"] * is_there


def test_patterns_of_minutes_and_days_come_the_latest_first(api):
    day, minute = api.get("/api/patterns").json()["patterns"]
    assert (day["pattern"], day["timeframe"], day["bar"]) == ("Doji", "daily", "2025-11-21")
    assert minute == {
        "symbol": "AAPL", "time": "2025-11-21T14:35:00Z", "bar": "2025-11-21T14:34:00Z", "timeframe": "1min",
        "pattern": "Hammer", "confidence": 0.85, "direction": "bullish", "price": 15.0, "volume": 100.5,
        "levels": [14.5], "flow_id": "00000000-0000-0000-0000-000000000001", "superseded_at": None, "event": None,
        "parameters": None, "base_rate": None,
    }  # fmt: skip
    chosen = {"symbol": "AAPL", "timeframe": "1min", "min_confidence": 0.8}
    assert api.get("/api/patterns", params=chosen).json()["patterns"] == [minute]
    assert api.get("/api/patterns", params={"pattern": "Hammer", "min_confidence": 0.9}).json()["patterns"] == []


def test_patterns_of_a_time_and_those_that_a_late_tick_removed(api, database):
    ends = "2025-11-21T14:35:00Z"
    assert [one["pattern"] for one in api.get("/api/patterns", params={"to": ends}).json()["patterns"]] == []
    found = api.get("/api/patterns", params={"from": ends, "timeframe": "1min"}).json()["patterns"]
    assert [one["pattern"] for one in found] == ["Hammer"]
    database.execute("UPDATE detection_flow SET superseded_at = '2025-11-21 15:00Z'")
    assert api.get("/api/patterns", params={"timeframe": "1min"}).json()["patterns"] == []
    (gone,) = api.get("/api/patterns", params={"symbol": "AAPL", "timeframe": "1min", "superseded": "true"}).json()[
        "patterns"
    ]
    assert (gone["pattern"], gone["superseded_at"]) == ("Hammer", "2025-11-21T15:00:00Z")
    assert api.get("/api/patterns", params={"superseded": "true"}).status_code == 422
    database.execute("UPDATE detection_flow SET superseded_at = NULL")


def test_repeats_and_parts_are_left_out_when_only_what_was_published_is_wanted(api, database):
    set_event = "UPDATE intraday_patterns SET pattern_data = pattern_data || jsonb_build_object('event', %s::text)"
    for event, names in (("repeat", []), ("part", []), ("first", ["Hammer"])):
        database.execute(set_event, [event])
        found = api.get("/api/patterns", params={"timeframe": "1min", "published": "true"}).json()["patterns"]
        assert [one["pattern"] for one in found] == names
    database.execute("UPDATE intraday_patterns SET pattern_data = pattern_data - 'event'")


def test_symbols_are_found_by_their_beginning_then_by_their_name(api, database):
    database.execute(
        "INSERT INTO symbols (symbol, name, active) VALUES ('PL', 'Planet', true), ('ZAP', 'aaple', false)"
    )
    found = api.get("/api/symbols", params={"search": "aap"}).json()["symbols"]
    assert [(one["symbol"], one["name"], one["active"]) for one in found] == [
        ("AAPL", None, True),
        ("ZAP", "aaple", False),
    ]
    assert len(api.get("/api/symbols", params={"limit": 2}).json()["symbols"]) == 2
    database.execute("DELETE FROM symbols WHERE symbol IN ('PL', 'ZAP')")


def test_definitions_say_what_is_on_and_its_rule(api, database):
    database.execute(
        "INSERT INTO pattern_definitions (name, short_description, enabled, confidence_threshold,"
        " applicable_timeframes) VALUES ('Mine', 'my rule', false, 0.5, '{1min}')"
    )
    (mine,) = [one for one in api.get("/api/definitions").json()["patterns"] if one["name"] == "Mine"]
    assert mine == {
        "name": "Mine", "description": "my rule", "enabled": False, "timeframes": ["1min"], "threshold": "0.5",
        "period": None,
    }  # fmt: skip
    database.execute("DELETE FROM pattern_definitions WHERE name = 'Mine'")


def test_gaps_of_a_symbol_are_those_of_all_of_its_own_and_of_its_partition(api, database):
    other = 1 - partition_of("AAPL", PARTITIONS)
    database.execute(
        "INSERT INTO gap (feed, symbols, partition, first_minute, last_minute, why) VALUES"
        " ('live', '{MSFT}', NULL, 1, 2, 'of another'), ('live', NULL, %s, 1, 2, 'elsewhere')",
        [other],
    )
    found = api.get("/api/gaps", params={"symbol": "AAPL"}).json()["gaps"]
    assert [gap["why"] for gap in found] == ["connection lost"]
    assert len(api.get("/api/gaps").json()["gaps"]) == 3
    database.execute("DELETE FROM gap WHERE why IN ('of another', 'elsewhere')")


def test_indicators_gaps_and_dead_letters(api):
    (rsi,) = api.get("/api/indicators", params={"symbol": "AAPL"}).json()["indicators"]
    assert rsi == {
        "time": "2025-11-21T14:35:00Z", "timeframe": "1min", "indicator": "RSI", "value": 72.5,
        "values": {"rsi_14": 72.5},
    }  # fmt: skip
    (gap,) = api.get("/api/gaps", params={"state": "open"}).json()["gaps"]
    assert (gap["feed"], gap["first_minute"], gap["why"]) == ("live", "2025-11-21T14:34Z", "connection lost")
    (letter,) = api.get("/api/dead-letters").json()["dead_letters"]
    assert (letter["reason"], letter["detail"]) == ("bad_price", "price \\x1b[31m")
    assert letter["original"].startswith('{"a":"\\x1b[31m"}xxx')
    assert (len(letter["original"]), letter["original_bytes"]) == (500, 5013)


def test_the_fleet_is_what_tickstock_status_prints(api, module_servers, tickstock, wait_for):
    wait_for(lambda: api.get("/api/fleet").status_code == 200)
    body, health = api.get("/api/fleet").json(), api.get("/health").json()
    printed = json.loads(tickstock("status", "--json", servers=module_servers).stdout)
    assert body.keys() - printed.keys() == {"looked_s", "lines"}
    assert (body["status"], body["partitions_total"]) == (printed["status"], PARTITIONS)
    assert [finding["code"] for finding in body["findings"]] == [finding["code"] for finding in printed["findings"]]
    assert (health["status"], health["services"]) == (
        body["status"],
        {"redis": "healthy", "database": "healthy", "api": "healthy"},
    )


def test_the_last_hour_of_the_fleet_is_asked_on_from_a_moment(api, wait_for):
    def moments(**after):
        return api.get("/api/fleet/hour", params=after).json()["moments"]

    first, second = wait_for(lambda: len(moments()) > 1 and moments())[:2]
    assert (first["lag_ticks"], first["lag_s"], first["unpublished"]) == (0, 0.0, 0)
    assert moments(after=first["at"])[0] == second
    assert datetime.fromisoformat(second["at"]) - datetime.fromisoformat(first["at"]) >= timedelta(seconds=5)


# -- events ------------------------------------------------------------------------------------------------------------


class Listener:
    """A client of /events, as a browser is one."""

    def __init__(self, api, after=None, **params):
        headers = {"Last-Event-ID": after} if after else {}
        self._answer = requests.get(api.url + "/events", headers=headers, params=params, stream=True, timeout=30)
        assert self._answer.status_code == 200, self._answer.text
        self._lines = self._answer.iter_lines(chunk_size=1, decode_unicode=True)
        assert self.next() == {"": "hello", "retry": "2000"}

    def next(self):
        """Return the fields of the next block; of a comment under the name "". Empty at the end."""
        block = {}
        for line in self._lines:
            if not line:
                return block
            name, _, value = line.partition(":")
            block[name] = value.removeprefix(" ")
        return block

    def ids(self, count):
        return [self.next()["id"] for _ in range(count)]

    def close(self):
        self._answer.close()


def tell(database, *rows, body=b'[{"symbol":"AAPL"}]'):
    """Add rows to the outbox: (partition, number, kind)."""
    for partition, number, kind in rows:
        database.execute(
            "INSERT INTO outbox (partition, number, kind, body) VALUES (%s, %s, %s, %s)",
            [partition, number, kind, body],
        )


@pytest.fixture
def numbers(database):
    """Give the numbers that the next results get: those of each test are its own."""
    rows = database.execute("SELECT partition, max(number) FROM outbox GROUP BY 1").fetchall()
    return {p: dict(rows).get(p, 0) for p in (-1, 0, 1)}


def test_results_are_heard_with_their_ids_and_kinds(api, database, numbers):
    first, runs = numbers[0] + 1, numbers[-1] + 1
    every, few = Listener(api), Listener(api, kinds="patterns,run")
    tell(database, (0, first, "bars"), (0, first + 1, "patterns"), (-1, runs, "run"))
    heard = {event["id"]: (event["event"], event["data"]) for event in (every.next() for _ in range(3))}
    data = '[{"symbol":"AAPL"}]'
    assert heard == {
        f"0-{first}": ("bars", data), f"0-{first + 1}": ("patterns", data), f"runs-{runs}": ("run", data)
    }  # fmt: skip
    assert sorted(few.ids(2)) == [f"0-{first + 1}", f"runs-{runs}"]
    every.close()
    few.close()


def test_of_one_symbol_a_client_hears_its_part_alone_and_a_sign_of_life_beside_the_others(
    api, database, numbers, monkeypatch
):
    first = numbers[0] + 1
    one = Listener(api, symbol="AAPL")
    both = b'[{"symbol":"MSFT"},{"symbol":"AAPL"}]'
    tell(database, (0, first, "patterns"), body=b'[{"symbol":"MSFT"}]')
    tell(database, (0, first + 1, "patterns"), body=both)
    assert one.next() == {"id": f"0-{first + 1}", "event": "patterns", "data": '[{"symbol":"AAPL"}]'}
    # The fleet is busy with other symbols: proxies, and the client, still hear that the connection lives.
    monkeypatch.setattr(events, "_SIGN_EVERY_S", 0.2)
    tell(database, (0, first + 2, "patterns"), body=b'[{"symbol":"MSFT"}]')
    assert one.next() == {"": "still here", "id": f"0-{first + 2}"}
    one.close()


def test_who_comes_again_hears_what_it_missed_once_each(api, database, numbers):
    a, b = numbers[0], numbers[1]
    listener = Listener(api)
    tell(database, (0, a + 1, "bars"), (1, b + 1, "bars"))
    seen = listener.ids(2)
    listener.close()
    tell(database, (0, a + 2, "bars"), (1, b + 2, "bars"), (0, a + 3, "alerts"))
    again = Listener(api, after=seen[-1])
    assert sorted(again.ids(3)) == sorted([f"0-{a + 2}", f"0-{a + 3}", f"1-{b + 2}"])
    from_the_first = Listener(api, after=seen[0])
    assert set(from_the_first.ids(4)) == {seen[1], f"0-{a + 2}", f"0-{a + 3}", f"1-{b + 2}"}
    again.close()
    from_the_first.close()


def test_another_process_leaves_out_nothing_either(api, module_servers, database, numbers):
    a, b = numbers[0], numbers[1]
    listener = Listener(api)
    tell(database, (0, a + 1, "bars"), (1, b + 1, "bars"))
    seen = listener.ids(2)[-1]
    listener.close()
    tell(database, (0, a + 2, "bars"), (1, b + 2, "bars"))
    with served(module_servers) as another:
        again = Listener(another, after=seen)
        heard = set()
        while not {f"0-{a + 2}", f"1-{b + 2}"} <= heard:
            heard.add(again.next()["id"])
        assert seen not in heard
        tell(database, (0, a + 3, "bars"))
        assert again.ids(1) == [f"0-{a + 3}"]
        again.close()
        lost = Listener(another, after="0-999999999")
        assert lost.next()["event"] == "reset"
        lost.close()


def test_what_is_no_id_is_refused(api):
    answer = api.get("/events", headers={"Last-Event-ID": "7"})
    assert (answer.status_code, list(answer.json())) == (422, ["message"])


def test_the_stop_ends_who_listens(module_servers):
    with served(module_servers) as one:
        listener = Listener(one)
        ended = threading.Thread(target=lambda: [None for _ in iter(listener.next, {})])
        ended.start()
    ended.join(10)
    assert not ended.is_alive()
