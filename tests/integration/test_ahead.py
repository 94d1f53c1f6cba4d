"""What is found before a close equals what is found at it: twins with the same trades, one partition looks ahead."""

import random
import time
from contextlib import closing
from itertools import count, islice, pairwise
from zlib import crc32

import numpy as np
import psycopg
import pytest
from tickstockpl.contracts.frames.frame import FIELD
from tickstockpl.contracts.frames.maker import Identity, make_frame
from tickstockpl.contracts.names import stream_key
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.contracts.universe import EVERY_SYMBOL
from tickstockpl.db import postgres, redis
from tickstockpl.db.postgres import Database
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.db.sessions import set_always_open
from tickstockpl.workers.commit import committer
from tickstockpl.workers.commit.committer import Committer
from tickstockpl.workers.detect.definitions import seed_definitions
from tickstockpl.workers.worker import Worker
from tickstockpl.workers.worker_options import WorkerOptions

from ..fake_world import HeldClock
from .test_worker_turns import StopWhen

SYMBOLS = 24
MINUTES = 31
LOOKS, LOOKS_NOT = 0, 1  # partitions
S_NS, MINUTE_NS = 10**9, 60 * 10**9


def names_in(partition):
    names = (f"T{number}" for number in count())
    return list(islice((name for name in names if crc32(name.encode()) % 2 == partition), SYMBOLS))


class Twins:
    """One worker with both partitions; symbol n of each gets the same ticks."""

    def __init__(self, servers, seed):
        self.random = random.Random(seed)
        self.names = [names_in(LOOKS), names_in(LOOKS_NOT)]
        self.fake = HeldClock()
        self.client = redis.connect(servers.redis_url)
        self.admin = psycopg.connect(servers.database_url, autocommit=True)
        with postgres.connect(servers.database_url, name="test") as connection:
            open_stream(connection, 2)
            seed_definitions(connection)
            set_always_open(connection, [EVERY_SYMBOL], is_open=True)
        self.database = Database(servers.database_url, name="w", main_loop=True, by_keys=True)
        self.worker = Worker(
            WorkerOptions("w", gather_ms=1, commit_ms=100),
            database=self.database,
            client=self.client,
            redis_url=servers.redis_url,
            partitions=2,
            stop=StopWhen(),
            world=self.fake.world,
        )
        self.worker.join()
        self.until(lambda: len(self.worker._states) == 2)
        self.sent = 0
        self.prices = [100.0 + number for number in range(SYMBOLS)]
        self.ahead = []  # how many bars were in the histories before each close

    def until(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            self.worker.turn()

    def turns(self, *, after_s):
        self.fake.now_s += after_s
        for _ in range(4):
            self.worker.turn()

    def trade(self, numbers, minute, at_ns):
        """Let some symbols trade within a minute; the frames come at `at_ns` of the feed's time."""
        rows = []
        for number in numbers:
            self.prices[number] *= 1 + self.random.choice((0, 0, 0.0005, -0.0005, 0.01, -0.01))
            price = round(self.prices[number] * (1 + self.random.uniform(-0.002, 0.002)), 2)
            ts = minute * MINUTE_NS + self.random.randrange(MINUTE_NS)
            rows.append((number, ts, price, float(self.random.choice((1, 100, 300, 9000)))))
        numbers, ts, price, size = map(np.array, zip(*rows, strict=True))
        seconds, micros = self.client.time()
        now_ms = seconds * 1000 + micros // 1000
        identity = Identity("channel-1", "live", "live", delay_ms=now_ms - at_ns // 1_000_000)
        for partition, names in enumerate(self.names):
            ticks = Ticks(names, numbers.astype("<u2"), ts.astype("<i8"), price, size)
            body = make_frame(identity, ticks, "live", self.sent, self.sent + len(rows), now_ms)
            self.client.xadd(stream_key(partition), {FIELD: body})
        self.sent += len(rows)

    def live(self, minute):
        """Let one minute pass: trades, a look ahead, late trades of it and of the minute before, its close."""
        end_ns, everyone = (minute + 1) * MINUTE_NS, range(SYMBOLS)
        self.trade([n for n in everyone for _ in range(self.random.randrange(5))] or [0], minute, end_ns + S_NS // 10)
        self.turns(after_s=0.0)
        self.turns(after_s=0.15)
        ahead = self.worker._committer._finder.histories.ahead_of(self.worker._states[LOOKS])
        self.ahead.append(len(ahead.bars) if ahead else 0)
        for late in (minute, minute, minute - 1):
            if self.random.random() < 0.5:
                self.trade(self.random.sample(everyone, self.random.randrange(1, 6)), late, end_ns + S_NS * 3 // 10)
                self.turns(after_s=0.0)
        self.turns(after_s=0.4)
        self.until(lambda: not any(len(state.marks) for state in self.worker._states.values()))

    def found(self, statement):
        """Return for each twin of both partitions what it has, without its name."""
        rows = self.admin.execute(statement).fetchall()
        return [
            sorted((names.index(symbol), *rest) for symbol, *rest in rows if symbol in names) for names in self.names
        ]

    def close(self):
        self.database.close()
        self.client.close()
        self.admin.close()


PATTERNS = """
SELECT symbol, pattern_type, timeframe, detection_timestamp, expiration_timestamp, confidence, pattern_data::text,
       levels::text
  FROM intraday_patterns
"""
INDICATORS = (
    "SELECT symbol, indicator_type, timeframe, calculation_timestamp, value_data::text FROM intraday_indicators"
)
# Without the time of detection: partitions with patterns are committed first, and the others after them.
PUBLISHED = """
SELECT found ->> 'symbol', kind, (found - 'symbol' - 'detected_at')::text
  FROM outbox, jsonb_array_elements(convert_from(body, 'UTF8')::jsonb) AS found
 WHERE kind IN ('patterns', 'alerts')
"""
BARS = "SELECT symbol, minute, open, high, low, close, volume_micro, notional, trades, revision FROM recent_bar"


@pytest.mark.parametrize("seed", [1, 2])
def test_results_found_before_the_close_equal_those_found_at_it(migrated_servers, monkeypatch, seed):
    closing_soon = committer.closing_soon
    monkeypatch.setattr(
        committer, "closing_soon", lambda state: closing_soon(state) if state.partition == LOOKS else None
    )
    staged, stage = [], Committer.stage

    def noted(committer, states):
        staged.append([state.partition for state in states])
        return stage(committer, states)

    monkeypatch.setattr(Committer, "stage", noted)
    with closing(Twins(migrated_servers, seed)) as twins:
        first = int(time.time()) // 3600 * 60 - 180
        for minute in range(first, first + MINUTES):
            twins.live(minute)
        assert sum(twins.ahead) > SYMBOLS * MINUTES / 2, twins.ahead
        assert ([LOOKS], [LOOKS_NOT]) in pairwise(staged)  # a pattern that was found ahead is committed first
        for statement in (BARS, PATTERNS, INDICATORS, PUBLISHED):
            looks, looks_not = twins.found(statement)
            assert looks == looks_not, (seed, statement)
            assert len(looks) > 10, statement
