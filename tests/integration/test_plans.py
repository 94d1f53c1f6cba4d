"""No statement of a close reads a table that has grown, whatever PostgreSQL's statistics say of it."""

import json
import threading
from contextlib import closing

import psycopg
import pytest
from tickstockpl.db import postgres
from tickstockpl.db.queries import _load
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.workers.detect.definitions import seed_definitions
from tickstockpl.workers.worker_options import WorkerOptions

# A step of the upkeep may fall into the test, or not: this one looks for the 100,000th dead letter, by their key.
UPKEEP = _load()["forget_dead_letters"].splitlines()[0]
DOJI = (10.0, 10.5, 9.5, 10.0)
ORDINARY = (10.0, 10.5, 9.5, 10.4)
SYMBOLS = 300

# What grows with the days. Old rows of symbols that trade today, and of others.
GROW = """
INSERT INTO symbols (symbol) SELECT 'OLD' || n FROM generate_series(1, 3000) AS n;
INSERT INTO recent_bar (symbol, minute, feed, replay, whole, revision, open, high, low, close, volume_micro, notional,
                        trades, open_ts, close_ts)
SELECT 'S' || n, m, 'live', false, false, 0, 10, 10.5, 9.5, 10.4, 1e8, 1000, 3, m * 60000000000, m * 60000000000
  FROM generate_series(1, 300) AS n, generate_series(%(minute)s - 400, %(minute)s - 200) AS m;
INSERT INTO recent_higher_bar (symbol, timeframe, minute, open, high, low, close, volume_micro, notional)
SELECT 'S' || n, t, %(minute)s / t * t - i * t, 10, 10.5, 9.5, 10.4, 1e8, 1000
  FROM generate_series(1, 300) AS n, unnest(ARRAY[5, 15, 30, 60]) AS t, generate_series(100, 140) AS i;
INSERT INTO ohlcv_1min (symbol, "timestamp", open, high, low, close, volume)
SELECT 'OLD' || n, to_timestamp(m * 60.0), 10, 11, 9, 10, 1
  FROM generate_series(1, 300) AS n, generate_series(1, 100) AS m;
INSERT INTO intraday_patterns (symbol, pattern_type, confidence, detection_timestamp, expiration_timestamp, metadata)
SELECT 'S' || n, 'Doji', 0.9, to_timestamp(m * 60.0), to_timestamp(m * 60.0),
       jsonb_build_object('flow_id', gen_random_uuid())
  FROM generate_series(1, 300) AS n, generate_series(1, 60) AS m;
INSERT INTO detection_flow (flow_id, symbol, timeframe, minute, pattern, pattern_id)
SELECT flow_id, symbol, 1, id, 'Doji', id FROM intraday_patterns;
INSERT INTO integration_events (flow_id, event_type, "timestamp")
SELECT gen_random_uuid(), 'pattern_detected', to_timestamp(n) FROM generate_series(1, 40000) AS n;
INSERT INTO intraday_indicators (symbol, indicator_type, value, calculation_timestamp)
SELECT 'S' || n, 'RSI', 50, to_timestamp(m * 60.0) FROM generate_series(1, 300) AS n, generate_series(1, 100) AS m;
INSERT INTO ledger (partition, producer, feed, last_number)
SELECT 0, 'old-' || n, 'live', 1 FROM generate_series(1, 20000) AS n;
INSERT INTO finished_replay (replay, partition, last_number, abandoned)
SELECT 'replay-' || n, 0, 1, false FROM generate_series(1, 20000) AS n;
INSERT INTO lease (unit) SELECT 'producer:old-' || n FROM generate_series(1, 20000) AS n;
INSERT INTO worker (consumer, host, pid) SELECT 'old-' || n, 'h', 1 FROM generate_series(1, 20000) AS n;
INSERT INTO outbox (partition, number, kind, body) SELECT 1, n, 'bars', '' FROM generate_series(1, 20000) AS n;
INSERT INTO dead_letter (partition, producer, reason, detail, original, told)
SELECT 0, 'old', 'price', '', '', true FROM generate_series(1, 20000) AS n;
"""
GROWN = {
    "symbols", "recent_bar", "recent_higher_bar", "ohlcv_1min", "intraday_patterns", "detection_flow",
    "integration_events", "intraday_indicators", "ledger", "finished_replay", "lease", "worker", "outbox",
    "dead_letter",
}  # fmt: skip


class Worker:
    """A worker whose every plan is written down."""

    def __init__(self, servers, wait_for):
        self.stop, self.plans, self.wait_for = threading.Event(), [], wait_for
        options = WorkerOptions("test-worker", commit_ms=50, gather_ms=10)
        self.worker = make_worker(Place(servers, False, 5.0), options, partitions=None, stop=self.stop)
        connection = self.worker._database.connection
        connection.execute("LOAD 'auto_explain'")
        for name, value in {"log_min_duration": 0, "log_nested_statements": "on", "log_format": "json",
                            "log_level": "notice"}.items():  # fmt: skip
            connection.execute(f"SET auto_explain.{name} = '{value}'")
        connection.execute("SET client_min_messages = 'notice'")
        connection.add_notice_handler(self._note)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        with self.worker._client, closing(self.worker._database):
            self.worker.run()

    def _note(self, notice):
        _, found, plan = notice.message_primary.partition("plan:\n")
        if found:
            self.plans.append(json.loads(plan))

    def whole_reads(self):
        """Return (table, statement) of each plan that reads all of a table that grows."""
        return {
            (node["Relation Name"], plan["Query Text"][:300])
            for plan in self.plans
            if not plan["Query Text"].startswith(UPKEEP)
            for node in nodes(plan["Plan"])
            if node.get("Relation Name") in GROWN and not is_bounded(node)
        }


def nodes(plan, parent=None):
    yield plan | {"Parent": parent}
    for child in plan.get("Plans", ()):
        yield from nodes(child, plan["Node Type"])


def is_bounded(node):
    """Tell whether a node finds its rows by a key; what is written to a table names it, too, and reads nothing.

    By an index from one end to the other, as min() does, it ends at the first row where nothing is filtered.
    """
    from_an_end = node.get("Index Cond", "IS NOT NULL)").endswith("IS NOT NULL)")
    if node["Node Type"].startswith("Index") and from_an_end:
        return node["Parent"] == "Limit" and "Filter" not in node
    keys = ("Index Cond", "TID Cond", "Recheck Cond")
    return node["Node Type"] == "ModifyTable" or any(key in node for key in keys)


@pytest.fixture
def close(stream, wait_for):
    """Give a worker on a young database, and a function that sends ticks and waits until so many bars stand."""
    with postgres.connect(stream.servers.database_url, name="test") as connection:
        seed_definitions(connection)
        connection.execute(
            'UPDATE pattern_definitions SET parameters = \'{"rule": "talib", "min_move": 0}\' WHERE name = \'Doji\''
        )
        connection.execute("UPDATE indicator_definitions SET enabled = true")
        for table in GROWN:
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        connection.execute("ANALYZE")
        worker = Worker(stream.servers, wait_for)
        try:

            def close(*ticks, until):
                stream.send(*ticks)
                wait_for(lambda: connection.execute(until).fetchone()[0])
                wait_for(lambda: connection.execute("SELECT sum(undetected) FROM checkpoint").fetchone() == (0,))

            yield stream, worker, close
        finally:
            worker.stop.set()
            worker.thread.join(60)


def bars(symbol, prices, minute):
    return [(symbol, price, 100, minute) for price in prices]


def test_no_statement_of_a_close_reads_a_grown_table_that_was_empty_at_its_analyze(close):
    stream, worker, send = close
    # Often enough for plans that are kept: of psycopg's prepared statements, of triggers and of functions.
    closed = 0
    for minute in range(-11, -5):
        for symbol in ("A", "B", "C"):
            closed += 1
            count = f"SELECT count(*) = {closed} FROM recent_bar"
            send(*bars(symbol, DOJI if minute % 2 else ORDINARY, minute), until=count)
    for symbol in ("A", "B", "C"):  # late: bars, patterns and indicators are replaced
        send((symbol, 10.0, 900, -7), until=f"SELECT revision = 1 FROM recent_bar WHERE symbol = '{symbol}'"
             " ORDER BY minute DESC OFFSET 1 LIMIT 1")  # fmt: skip
    minute = stream.minute_ns // 60_000_000_000
    with psycopg.connect(stream.servers.database_url) as connection:
        for statement in GROW.strip().removesuffix(";").split(";\n"):
            connection.execute(statement, {"minute": minute} if "%(" in statement else None)
    worker.plans.clear()
    for later in range(-5, 0):
        ticks = [tick for n in range(1, SYMBOLS + 1) for tick in bars(f"S{n}", DOJI if later % 2 else ORDINARY, later)]
        for first in range(0, len(ticks), 400):
            stream.send(*ticks[first : first + 400])
        send(("A", 10.1, 100, later),
             until=f"SELECT count(*) = {SYMBOLS + 1} FROM recent_bar WHERE minute = {minute + later}")  # fmt: skip
    send(*(tick for n in range(1, 101) for tick in bars(f"S{n}", (10.0, 10.6), -3)),
         until="SELECT count(*) = 100 FROM recent_bar WHERE revision > 0 AND symbol LIKE 'S%'")  # fmt: skip
    texts = {plan["Query Text"] for plan in worker.plans}
    seen = ("FROM stage_bar s", "log_integration_event", "intraday_patterns", "detection_flow d",
            "intraday_indicators", "recent_higher_bar", "FOR KEY SHARE", "FROM integration_events")  # fmt: skip
    assert [word for word in seen if not any(word in text for text in texts)] == []
    assert worker.whole_reads() == set()
