"""Bars, patterns and values of one symbol, made by hand, and results as a fleet would publish them."""

import json

OPENS_S = 1_763_735_400  # 2025-11-21 09:30 in New York
BARS = 60
LAST_S = OPENS_S + (BARS - 1) * 60
HAMMER, GONE = 50, 52  # minutes after the opening
RULE = "A long lower shadow after a fall"
BASE_RATE = {"hits": 120, "of": 200, "expected": 90.0, "after_bars": 10, "days": 20}


def fill(database):
    """Store an hour of bars. Bar i opens at 100 + i / 10 and closes 0.05 higher; odd ones 0.05 lower."""
    database.execute("INSERT INTO symbols (symbol, name) VALUES ('ACME', 'Acme Corporation'), ('BETA', 'Beta plc')")
    database.execute(
        'INSERT INTO ohlcv_1min (symbol, "timestamp", open, high, low, close, volume, vwap, trade_count, revision,'
        " provenance) SELECT 'ACME', to_timestamp(%s + i * 60), 100 + i / 10.0, 100.2 + i / 10.0, 99.8 + i / 10.0,"
        " 100 + i / 10.0 + CASE WHEN i %% 2 = 0 THEN 0.05 ELSE -0.05 END, 1000 + i, 100.01 + i / 10.0, 7,"
        " CASE WHEN i = 55 THEN 1 ELSE 0 END, CASE WHEN i IN (40, 41) THEN 'partial' ELSE 'live' END"
        " FROM generate_series(0, %s) AS i",
        [OPENS_S, BARS - 1],
    )
    database.execute(
        'INSERT INTO ohlcv_5min (symbol, "timestamp", open, high, low, close, volume)'
        " SELECT 'ACME', to_timestamp(%s + i * 300), 100 + i / 2.0, 101 + i / 2.0, 99 + i / 2.0, 100.5 + i / 2.0, 5000"
        " FROM generate_series(0, 11) AS i",
        [OPENS_S],
    )
    first = OPENS_S // 60
    database.execute(
        "INSERT INTO gap (feed, first_minute, last_minute, why) VALUES ('live', %s, %s, 'connection lost')",
        [first + 40, first + 41],
    )
    add_pattern(database, 1, "Hammer", HAMMER, 0.85, [104.5], BASE_RATE)
    add_pattern(database, 2, "Doji", GONE, 0.6, [], None)
    database.execute(
        "INSERT INTO intraday_indicators (symbol, indicator_type, value, value_data, calculation_timestamp,"
        " expiration_timestamp, timeframe) SELECT 'ACME', 'RSI', 50 + i / 4.0,"
        " jsonb_build_object('rsi_14', 50 + i / 4.0), to_timestamp(%s + (i + 1) * 60), now(), '1min'"
        " FROM generate_series(14, %s) AS i",
        [OPENS_S, BARS - 1],
    )
    for table, name, text in (("pattern", "Hammer", RULE), ("pattern", "Doji", "No body"), ("indicator", "RSI", "RSI")):
        database.execute(
            f"INSERT INTO {table}_definitions (name, short_description, enabled) VALUES (%s, %s, true)"
            " ON CONFLICT (name) DO UPDATE SET short_description = excluded.short_description, enabled = true",
            [name, text],
        )


def add_pattern(database, number, pattern, minute, confidence, levels, base_rate, symbol="ACME"):
    """Store a bullish pattern on a bar."""
    price = 100 + minute / 10
    shown = {"direction": 1, "event": "first", "bar": {"close": price, "volume": 1000 + minute}}
    database.execute(
        "INSERT INTO intraday_patterns (id, symbol, pattern_type, confidence, pattern_data, detection_timestamp,"
        " expiration_timestamp, levels, metadata) VALUES (%s, %s, %s, %s, %s, now(), now(), %s, %s)",
        [number, symbol, pattern, confidence, json.dumps(shown), levels, json.dumps({"base_rate": base_rate})],
    )
    database.execute(
        "INSERT INTO detection_flow (flow_id, symbol, timeframe, minute, pattern, pattern_id)"
        " VALUES (gen_random_uuid(), %s, 1, %s, %s, %s)",
        [symbol, OPENS_S // 60 + minute, pattern, number],
    )


def live_bar(minute, close, *, revision=0):
    """Return a message of kind `bars` with one bar."""
    bar = {"symbol": "ACME", "timestamp": OPENS_S + minute * 60, "open": 106.0, "high": 107.0, "low": 105.0}
    bar |= {"close": close, "volume": 500.0, "vwap": 106.1, "trade_count": 9, "revision": revision}
    return {"feed": "live", "bars": [bar]}


def live_pattern(minute, pattern="Doji", symbol="ACME", confidence=0.9, **others):
    """Return a message of kind `patterns` with one detection."""
    found = {"symbol": symbol, "pattern": pattern, "timeframe": "1min", "minute": OPENS_S // 60 + minute}
    found |= {"confidence": confidence, "direction": -1, "open": 1.0, "high": 1.0, "low": 1.0, "close": 106.5}
    return [found | {"volume": 500.0, "levels": [], "parameters": {}, "base_rate": None, **others}]


class Outbox:
    """Publishes results as a worker does: by rows of the outbox, numbered from 1 in each partition."""

    def __init__(self, database):
        self._database = database
        self._number = 0

    def publish(self, kind, body, partition=0):
        self._number += 1
        self._database.execute(
            "INSERT INTO outbox (partition, number, kind, body) VALUES (%s, %s, %s, %s)",
            [partition, self._number, kind, json.dumps(body).encode()],
        )
        return f"{partition}-{self._number}"
