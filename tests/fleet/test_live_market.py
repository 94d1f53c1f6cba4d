"""The live market end to end, against a pretend Massive: bars by the SIP's rules, breaks repaired, trades taken back.

Every number is compared with the pretend server's own bars, which share no code with the workers'. Its clock is ours;
the feed runs some minutes behind it (`--feed-delay-s`), so that what a test tells is over, or nearly, at once.
"""

import json
import random
import time
from uuid import uuid4

import pytest
from tickstockpl.contracts.gap_reasons import STARTED
from tickstockpl.ops.fake_massive import FakeMassive
from tickstockpl.ops.fake_massive.tape import SyntheticTape
from tickstockpl.ops.fake_massive.trade import trade_of
from tickstockpl.producer.synthetic import Market
from tickstockpl.workers.partition.undo import REPLACED

from .fleet import fleet_on, wait_for

KEY = uuid4().hex  # a random one: no key stands in a file
PARTITIONS = 2
MINUTE_MS = 60_000
DELAY_S = 300
SYMBOLS = ("AAPL", "BRK.B", "MSFT", "SPY")
# Conditions by which trades set everything, only some fields, nothing; 12 depends on the hour, 240 is unknown.
CONDITIONS = ((), (), (), (14, 41), (37,), (10,), (2,), (53,), (14, 37), (16,), (12,), (240,), (7,), (22,))


class LiveMarket:
    """A pretend Massive in this process, and a fleet that hears it."""

    def __init__(self, fleet, fake):
        self.fleet = fleet
        self.fake = fake
        self.key_file = fleet.folder / "key"
        self.key_file.write_text(KEY)
        self.delay_s = DELAY_S
        self._trades = 0
        self._numbers = random.Random(4)

    # -- the processes -------------------------------------------------------------------------------------------------

    def start_worker(self, name="worker", *options):
        self.fleet.start_worker(name, "--log-level", "debug", "--commit-ms", "100", *options)
        wait_for(lambda: self.fleet.owners() == {name: PARTITIONS}, 90, lambda: f"{name}\n{self.fleet.logs()}")

    def start_feed(self, *options, delay_s=DELAY_S):
        """Start the producer, and wait until it is subscribed."""
        self.delay_s = delay_s
        self.fleet.start(
            "feed", "producer", "--source", "massive", "--massive-url", self.fake.websocket_url,
            "--rest-url", self.fake.rest_url, "--api-key-file", self.key_file,
            "--spool-dir", self.fleet.folder / "spool", "--feed-delay-s", delay_s, "--log-level", "debug", *options,
        )  # fmt: skip
        self.wait_until_heard()

    def wait_until_heard(self):
        wait_for(lambda: self.fake.subscribed, 90, lambda: f"a subscription\n{self.fleet.logs()}")

    def times_connected(self):
        return self.fleet.log_file("feed").read_text().count("massive connected")

    def run(self, *arguments):
        """Run a command to its end; what it says goes to a log file."""
        name = f"{arguments[0]}-{uuid4().hex[:6]}"
        self.fleet.start(name, *arguments)
        assert self.fleet.exit_code(name, 120) == 0, self.fleet.logs()
        return self.fleet.log_file(name).read_text()

    def repair(self):
        return self.run("gaps", "repair", "--api-key-file", self.key_file, "--rest-url", self.fake.rest_url,
                        "--universe", ",".join((*SYMBOLS, "ODD")))  # fmt: skip

    # -- trades --------------------------------------------------------------------------------------------------------

    def minute(self, ago):
        """Return the start, Unix ms, of the feed's minute so many before its current one."""
        now_ms = int((time.time() - self.delay_s) * 1000)
        return now_ms - now_ms % MINUTE_MS - ago * MINUTE_MS

    def left_s(self):
        """Return how long the feed's current minute stays open."""
        return 60 - (time.time() - self.delay_s) % 60

    def trade(self, symbol, at_ms, price, size, **named):
        """Make a trade with an id of its own."""
        self._trades += 1
        named = {"trade_id": str(self._trades), "exchange": 11} | named
        return trade_of(symbol, at_ms, price, size, sequence=self._trades, **named)

    def some_trades(self, minute, first_s, last_s, count=40):
        """Make random trades of all symbols in some seconds of a minute, in order of time."""
        numbers = self._numbers
        times = sorted(numbers.randrange(first_s * 1000, last_s * 1000) for _ in range(count * len(SYMBOLS)))
        return [
            self.trade(
                numbers.choice(SYMBOLS), minute + at, round(numbers.uniform(90, 110), 2),
                numbers.choice((1, 25, 100, 0.5, 300.25)), conditions=numbers.choice(CONDITIONS),
                exchange=numbers.randrange(1, 20),
            )
            for at in times
        ]  # fmt: skip

    # -- what is there -------------------------------------------------------------------------------------------------

    def bars(self):
        """Return (open, high, low, close, volume, vwap, trade_count, provenance, revision) by symbol and start, ms."""
        rows = self.fleet.rows(
            'SELECT symbol, (extract(epoch FROM "timestamp") * 1000)::bigint, open::float8, high::float8, low::float8,'
            " close::float8, volume::float8, vwap::float8, trade_count, provenance, revision FROM ohlcv_1min"
        )
        return {(symbol, at): tuple(values) for symbol, at, *values in rows}

    def bar(self, symbol, minute):
        return self.bars().get((symbol, minute))

    def wait_for_bar(self, symbol, minute, *values):
        """Wait until a bar has these values, as many as are given."""
        wait_for(
            lambda: (bar := self.bar(symbol, minute)) is not None and bar[: len(values)] == values, 20,
            lambda: f"{symbol} {values}, there is {self.bar(symbol, minute)}\n{self.fleet.logs()}",
        )  # fmt: skip

    def ledger(self, column):
        return self.fleet.rows(f"SELECT coalesce(sum({column}), 0)::bigint FROM ledger")[0][0]

    def wait_until_applied(self, ticks):
        wait_for(lambda: self.ledger("ticks_in") >= ticks, 90, lambda: f"{ticks} ticks\n{self.fleet.logs()}")

    def repaired_minutes(self):
        """Return the starts, Unix ms, of the minutes of all gaps."""
        return {
            minute * MINUTE_MS
            for first, last in self.fleet.rows("SELECT first_minute, last_minute FROM gap")
            for minute in range(first, last + 1)
        }

    def assert_bars_are_the_oracles(self, *, channel="T", first_ms=0, last_ms=2**62):
        """Compare every bar of some minutes, and whether it came live or by the repair; return the repaired minutes."""
        told = self.fake.bars(first_ms=first_ms, last_ms=last_ms, channel=channel)
        expected = {(bar.symbol, bar.start_ms): bar for bar in told}
        found = {key: bar for key, bar in self.bars().items() if first_ms <= key[1] <= last_ms}
        repaired = self.repaired_minutes()
        assert found.keys() == expected.keys()
        for key, bar in expected.items():
            *values, vwap, count, provenance, _ = found[key]
            assert values == [bar.open, bar.high, bar.low, bar.close, bar.volume], key
            is_repaired = key[1] in repaired
            assert provenance == ("repair" if is_repaired else "live"), key
            told_vwap = bar.vwap
            if is_repaired:  # the vendor's REST says 4 decimals, of odd lots too, which are no high or low
                told_vwap = min(max(round(bar.vwap, 4), bar.low), bar.high)
            assert abs(vwap - told_vwap) <= 1e-9 * told_vwap, key
            # A trade without volume counts, which the vendor does not count: it says none of such a minute.
            assert count == (bar.trade_count or (None if is_repaired else 1)), key
        return repaired

    def assert_audited(self):
        said = self.run("audit")
        assert " 0 differ" in said, said
        assert "the ledger balances" in said, said

    def assert_no_key_is_anywhere(self):
        texts = [file.read_text() for file in self.fleet.folder.glob("*.log")]
        assert len(texts) >= 2
        assert not any(KEY in text for text in texts)


@pytest.fixture
def market(migrated_servers, tmp_path):
    with FakeMassive(key=KEY) as fake, fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        yield LiveMarket(fleet, fake)


def lose(market, what, *trades):
    """Let the server misbehave while it tells trades, until the feed has connected anew."""
    connected = market.times_connected()
    market.fake.misbehave(what, seconds=60)
    if what == "cut":
        wait_for(lambda: market.fake.connections == 0, 90)
    market.fake.tell(*trades)
    if what == "cut":
        market.fake.behave()
    wait_for(lambda: market.times_connected() > connected, 90, market.fleet.logs)
    market.fake.behave()
    market.wait_until_heard()


def test_bars_by_the_sips_rules_with_a_cut_and_a_stall_are_those_of_the_vendor(market):
    market.start_worker()
    market.start_feed("--silence-s", "2.5", "--watch", "always", "--no-repair")
    first, second, third, fourth = (market.minute(8 - i) for i in range(4))
    market.fake.tell(
        market.trade("ODD", first + 1_000, 55.0, 7, conditions=(37,)),
        market.trade("ODD", second + 1_000, 54.0, 5, conditions=(37,)),
        market.trade("ONE", first + 1_000, 57.0, 200, conditions=(38,)),  # sets nothing of a minute
        *market.some_trades(first, 0, 60),
        *market.some_trades(second, 0, 60),
    )
    market.wait_until_applied(200)
    market.fake.tell(market.trade("ODD", second + 500, 56.0, 100), *market.some_trades(third, 0, 20))
    wait_for(lambda: market.bar("SPY", third), 90)
    lose(market, "cut", *market.some_trades(third, 20, 60), *market.some_trades(fourth, 0, 10))
    market.fake.tell(*market.some_trades(fourth, 10, 30))
    wait_for(lambda: market.bar("SPY", fourth), 90)
    lose(market, "stall", *market.some_trades(fourth, 30, 60))
    wait_for(lambda: {third, fourth} <= market.repaired_minutes(), 90)

    market.repair()
    repaired = market.assert_bars_are_the_oracles()
    assert {third, fourth} <= repaired
    assert not {first} & repaired
    volume_only = market.fleet.rows(
        "SELECT symbol, extract(epoch FROM timestamp) * 1000, volume FROM volume_only_minute"
    )
    assert volume_only == [("ODD", first, 7.0)]
    market.assert_audited()
    market.assert_no_key_is_anywhere()


def test_seconds_stand_in_the_minute_of_their_start_with_their_own_highs_and_lows(market):
    market.start_worker()
    market.start_feed("--channel", "A")
    first, second = market.minute(3), market.minute(2)
    market.fake.tell(
        *market.some_trades(first, 0, 59),
        # The minute's last second, which ends on the next minute: its extremes are neither open nor close.
        *(market.trade("AAPL", first + 59_000 + i, price, 100) for i, price in enumerate((100.0, 150.0, 50.0, 101.0))),
        market.trade("AAPL", second, 70.0, 100),
        *market.some_trades(second, 30, 60),
    )
    wait_for(lambda: market.bar("AAPL", second), 90)
    market.fake.tell(market.trade("AAPL", first + 59_500, 160.0, 25.5))  # late: told as a further part of its second
    market.wait_for_bar("AAPL", first, market.bar("AAPL", first)[0], 160.0, 50.0, 160.0)

    market.assert_bars_are_the_oracles(channel="A")
    assert market.bar("AAPL", second)[0] == 70.0
    market.assert_audited()


# -- the first minute --------------------------------------------------------------------------------------------------


@pytest.mark.slow  # two minutes end in it; tests/integration/test_partial_bars.py shows what a partial bar is
def test_the_first_minute_of_a_feed_is_partial_until_it_is_repaired(market):
    market.start_worker()
    market.delay_s = 120 + (time.time() - 20) % 60  # the feed's minute has 40 s left
    minute, next_minute = market.minute(0), market.minute(-1)
    market.fake.tell(market.trade("AAPL", minute + 500, 9.0, 70))  # nobody hears it
    # Nobody trades until the next minute: that is no break of this feed.
    market.start_feed("--no-repair", "--watch", "always", "--silence-s", "600", delay_s=market.delay_s)
    gaps = "SELECT first_minute, last_minute, why FROM gap"
    started = (minute // MINUTE_MS, minute // MINUTE_MS, STARTED)
    wait_for(lambda: market.fleet.rows(gaps) == [started], 30, lambda: market.fleet.rows(gaps))
    market.fake.tell(market.trade("AAPL", minute + 30_000, 10.0, 100))
    wait_for(lambda: market.minute(0) >= next_minute, 90, "the next minute")
    market.fake.tell(market.trade("AAPL", next_minute + 1_000, 11.0, 50))

    market.wait_for_bar("AAPL", minute, 10.0, 10.0, 10.0, 10.0, 100.0, 10.0, 1, "partial", 0)
    market.repair()  # 20 s after the minute's end, which is long ago by the clock
    market.wait_for_bar("AAPL", minute, 9.0, 10.0, 9.0, 10.0, 170.0)
    assert market.bar("AAPL", minute)[-2:] == ("repair", 1)
    wait_for(lambda: market.bar("AAPL", next_minute), 90, market.fleet.logs)
    assert market.bar("AAPL", next_minute)[-2:] == ("live", 0)
    market.assert_audited()


# -- trades taken back -------------------------------------------------------------------------------------------------


def take_back(market, kind, trade, **fields):
    names = {"type": kind, "symbol": trade.symbol, "exchange": trade.exchange, "trade_id": trade.trade_id}
    market.fleet.redis.xadd("tickstock-stream", names | fields)


def times_told(market, symbol, minute):
    """Return the (high, revision) with which a bar was told, in order."""
    told = []
    for partition in range(PARTITIONS):
        for _, kind, body in market.fleet.outbox(partition):
            if kind == "bars":
                told += [(b["high"], b["revision"]) for b in json.loads(body)["bars"]
                         if (b["symbol"], b["timestamp"] * 1000) == (symbol, minute)]  # fmt: skip
    return told


def test_cancels_and_corrections_make_closed_bars_again(market):
    market.start_worker()
    market.start_feed()
    minute = market.minute(3)
    low, high, last, only = (
        market.trade(symbol, minute + at, price, 100)
        for symbol, at, price in (("AAPL", 1_000, 10.0), ("AAPL", 2_000, 90.0), ("AAPL", 3_000, 11.0), ("SPY", 5, 7.0))
    )
    market.fake.tell(low, high, last, only)
    market.wait_for_bar("AAPL", minute, 10.0, 90.0, 10.0, 11.0, 300.0)
    market.wait_for_bar("SPY", minute, 7.0)

    take_back(market, "cancel", high)
    market.wait_for_bar("AAPL", minute, 10.0, 11.0, 10.0, 11.0, 200.0, 10.5, 2, "live", 1)
    take_back(market, "correct", low, price="12.5", volume="300")
    market.wait_for_bar("AAPL", minute, 12.5, 12.5, 11.0, 11.0, 400.0, (12.5 * 300 + 1100) / 400, 2, "live", 2)
    assert times_told(market, "AAPL", minute) == [(90.0, 0), (11.0, 1), (12.5, 2)]

    take_back(market, "cancel", only)
    wait_for(lambda: market.bar("SPY", minute) is None, 90)
    take_back(market, "cancel", only)  # again: there is nothing left to take back
    take_back(market, "cancel", trade_of("MSFT", minute, 1.0, 1, trade_id="99"))  # it may come: this one waits
    letters = "SELECT reason, convert_from(original, 'UTF8')::json->>'symbol' FROM dead_letter ORDER BY 2"
    wait_for(lambda: market.fleet.rows(letters) == [("cannot_undo", "SPY")], 90)
    market.assert_audited()

    market.fake.tell(market.trade("SPY", minute + 30_000, 8.0, 50))  # the bar may come back
    market.wait_for_bar("SPY", minute, 8.0, 8.0, 8.0, 8.0, 50.0, 8.0, 1, "live")
    market.assert_audited()


def test_a_cancelled_trade_never_stands_in_a_bar_that_was_open(market):
    market.start_worker()
    delay_s = 120 + (time.time() - 38) % 60  # the feed's minute has 22 s left
    market.start_feed(delay_s=delay_s)
    wait_for(lambda: market.left_s() > 15, 90, "a minute that stays open for a while")
    minute = market.minute(0)
    trades = [market.trade("AAPL", minute + at, price, 100) for at, price in ((1_000, 10.0), (2_000, 90.0))]
    only = market.trade("SPY", minute + 1_000, 7.0, 100)
    market.fake.tell(*trades, only)
    market.wait_until_applied(3)
    take_back(market, "cancel", trades[1])
    take_back(market, "cancel", only)
    market.wait_until_applied(5)
    market.fake.tell(market.trade("AAPL", minute + 3_000, 11.0, 100))
    assert market.bars() == {}

    market.wait_for_bar("AAPL", minute, 10.0, 11.0, 10.0, 11.0, 200.0, 10.5, 2)
    assert market.bar("AAPL", minute)[-1] == 0
    assert times_told(market, "AAPL", minute) == [(11.0, 0)]
    assert market.bars().keys() == {("AAPL", minute)}
    market.assert_audited()


def test_a_worker_takes_trades_back_that_a_killed_one_had_applied(market):
    market.start_worker("first")
    market.start_feed()
    minute = market.minute(3)
    trades = [market.trade("AAPL", minute + at, price, 100) for at, price in ((1_000, 10.0), (2_000, 90.0))]
    market.fake.tell(*trades)
    market.wait_for_bar("AAPL", minute, 10.0, 90.0)

    market.fleet.kill("first")
    take_back(market, "cancel", trades[1])
    market.fleet.end_leases_of("first")
    market.start_worker("second")
    market.wait_for_bar("AAPL", minute, 10.0, 10.0, 10.0, 10.0, 100.0, 10.0, 1, "live", 1)
    market.assert_audited()


# -- repairs over what is there ----------------------------------------------------------------------------------------


def test_a_repair_replaces_live_bars_once_and_leaves_a_replays_alone(market):
    market.start_worker()
    market.start_feed("--no-repair", "--watch", "always")
    minute = market.minute(4)
    trades = market.trade("AAPL", minute + 1_000, 10.0, 100), market.trade("SPY", minute + 1_000, 20.0, 100)
    market.fake.tell(*trades)
    market.wait_for_bar("AAPL", minute, 10.0, 10.0)
    market.wait_for_bar("SPY", minute, 20.0, 20.0)
    lose(market, "cut", *(market.trade(s, minute + 2_000, 90.0, 50) for s in ("AAPL", "SPY")))
    wait_for(lambda: minute in market.repaired_minutes(), 90)
    file = market.fleet.folder / "trades.csv"
    file.write_text(f"ticker,price,sip_timestamp,size\nSPY,20.5,{minute + 1_000}000000,7\n")
    market.run("producer", "--source", "replay", file)

    assert "2 gaps: 2 minutes repaired" in market.repair()  # the other one is the first minute
    repaired = (10.0, 90.0, 10.0, 90.0, 150.0, round(5500 / 150, 4), 2, "repair", 1)
    assert market.bar("AAPL", minute) == repaired
    assert market.bar("SPY", minute) == (20.5, 20.5, 20.5, 20.5, 7.0, 20.5, 1, "replay", 1)
    market.repair()  # other minutes of the gap are missing, so all of it is fetched again
    market.fake.tell(market.trade("AAPL", minute + 3_000, 99.0, 100))
    # SPY's minute, fetched twice; the late trade of AAPL; the live trades that the repair and the replay replaced.
    wait_for(lambda: market.ledger("superseded") == 5, 90, lambda: market.fleet.rows("SELECT * FROM ledger"))
    for trade in trades:
        take_back(market, "cancel", trade)  # it is not in the bar any more, and was counted before
    counted = (
        "SELECT sum(applied)::int, sum(refused)::int, sum(superseded)::int FROM ledger WHERE producer = 'front-door'"
    )
    wait_for(lambda: market.fleet.rows(counted) == [(0, 2, 0)], 90, lambda: market.fleet.rows("SELECT * FROM ledger"))

    letters = "SELECT reason, detail FROM dead_letter ORDER BY id"
    assert market.fleet.rows(letters) == [("cannot_undo", REPLACED)] * 2
    assert market.bar("AAPL", minute) == repaired
    assert times_told(market, "AAPL", minute) == [(10.0, 0), (90.0, 1)]
    assert market.bar("SPY", minute)[-2:] == ("replay", 1)
    market.assert_audited()


# -- at the market's own pace ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_feed_that_breaks_repairs_itself_while_it_runs(migrated_servers, tmp_path):
    tape = SyntheticTape(Market(rate=500, symbols=20, start_ns=time.time_ns()))
    with FakeMassive(tape, key=KEY) as fake, fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        market = LiveMarket(fleet, fake)
        market.start_worker()
        market.start_feed("--silence-s", "3", "--watch", "always", delay_s=0)
        cut, stalled, whole = (market.minute(-i) for i in (1, 2, 3))
        wait_until(cut + 20_000)
        fake.misbehave("cut", seconds=5)
        wait_until(stalled + 30_000)
        fake.misbehave("stall", seconds=8)
        wait_until(whole + MINUTE_MS + 2_000)

        states = "SELECT DISTINCT state FROM gap"
        wait_for(lambda: ("open",) not in fleet.rows(states), 90, fleet.logs)
        assert market.repaired_minutes() >= {cut, stalled}
        assert whole not in market.repaired_minutes()
        market.assert_bars_are_the_oracles(first_ms=cut, last_ms=whole)
        market.assert_audited()
        market.assert_no_key_is_anywhere()


def wait_until(ms):
    wait_for(lambda: time.time() * 1000 > ms, 150, f"{ms} ms")
