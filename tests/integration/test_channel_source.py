"""The application's tick channels -> ticks: families, stamps, cuts, and a reader that is slower than its channel."""

import json
import threading
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
import redis
from tickstockpl.contracts import gap_reasons
from tickstockpl.contracts.errors import SetupError, UsageError
from tickstockpl.contracts.frames.maker import make_frame
from tickstockpl.contracts.ticks import concat
from tickstockpl.producer import channel
from tickstockpl.producer.channel import ChannelSource

from .one_stream import LIVE

RAW = "tickstock.data.raw"
PROBE = json.dumps({"test": "permission_check"})
HALF_PAST_TWO = 1_764_081_000  # 2025-11-25T14:30:00Z


def second(end_s, opened, high, low, close, volume):
    """Return a second as the application publishes it: stamped with its END, in float seconds."""
    return {
        "ticker": "AAPL",
        "price": close,
        "volume": volume,
        "timestamp": float(end_s),
        "event_type": "A",
        "source": "massive",
        "tick_open": opened,
        "tick_high": high,
        "tick_low": low,
        "tick_close": close,
        "tick_volume": volume,
        "tick_vwap": round((high + low) / 2, 4),
        "bid": None,
        "ask": None,
    }


def trade(number, symbol="AAPL", **more):
    """Return a trade of size 100 whose price tells its number."""
    return {"event_type": "T", "ticker": symbol, "price": 1.0 + number, "volume": 100, "timestamp": 1_764_081_000.25,
            **more}  # fmt: skip


class Listening:
    """A source that is iterated in a thread; what it raised stands in `error`."""

    def __init__(self, source, stop):
        self.batches = []
        self.error = None
        self._source, self._stop = source, stop
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            self.batches += (ticks for ticks in self._source if ticks is not None)
        except SetupError as e:
            self.error = e

    @property
    def ticks(self):
        return concat(self.batches)

    def rows(self):
        """Return (symbol, ts, price, size) of every tick."""
        ticks = self.ticks
        names = [ticks.symbols[i] for i in ticks.symbol_index]
        return list(zip(names, ticks.ts.tolist(), ticks.price.tolist(), ticks.size.tolist(), strict=True))

    def end(self):
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def application(servers):
    """Give the application's connection to Redis."""
    with redis.Redis.from_url(servers.redis_url) as client:
        yield client


@pytest.fixture
def listen(servers, application, wait_for):
    """Give a function that starts a source and waits until Redis knows it; ended after the test."""
    started = []

    def start(family=RAW, *, subscribed_to=None, url=None, **options):
        stop = threading.Event()
        source = ChannelSource(url or servers.redis_url, family, stop=stop, **options)
        listening = Listening(source, stop)
        listening.source = source
        started.append(listening)
        wait_for(lambda: listening.error or application.publish(subscribed_to or family, PROBE))
        return listening

    yield start
    for listening in started:
        listening.end()


def publish(application, *messages, to=RAW):
    for message in messages:
        assert application.publish(to, json.dumps(message)) == 1


# -- what is heard ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "published_to", "message", "row"),
    [
        (
            RAW,
            RAW,
            second(HALF_PAST_TWO + 10, 1.0, 1.4, 0.9, 1.2, 300),
            ("AAPL", HALF_PAST_TWO * 10**9 + 9_999_999_999, 1.2, 300.0),
        ),
        (
            "tickstock:market:ticks",
            "tickstock:market:ticks",
            {"type": "market_tick", "symbol": "BRK.B", "price": 480.5, "volume": 0.25, "timestamp": 1_764_081_000_500,
             "source": "massive"},
            ("BRK.B", HALF_PAST_TWO * 10**9 + 500_000_000, 480.5, 0.25),
        ),
        (
            "tickstock.all_ticks",
            "tickstock.all_ticks",
            {"event_type": "tick_data", "ticker": "SPY", "price": 600.1, "volume": 10, "timestamp": 1_764_081_000.125,
             "source": "massive", "market_status": "REGULAR"},
            ("SPY", HALF_PAST_TWO * 10**9 + 125_000_000, 600.1, 10.0),
        ),
        (
            "tickstock.ticks.*",
            "tickstock.ticks.SPY",
            {"event_type": "tick_data", "ticker": "SPY", "price": 600.1, "volume": 10,
             "timestamp": "2025-11-25T14:30:00.125Z", "source": "massive", "market_status": "REGULAR"},
            ("SPY", HALF_PAST_TWO * 10**9 + 125_000_000, 600.1, 10.0),
        ),
    ],
)  # fmt: skip
def test_each_family_is_heard(application, listen, wait_for, family, published_to, message, row):
    listening = listen(family, subscribed_to=published_to)
    publish(application, message, to=published_to)
    wait_for(listening.rows)
    assert listening.rows() == [row]


def test_a_tick_that_is_published_in_four_families_at_once_is_heard_once(application, listen, wait_for):
    listening = listen()
    everywhere = (RAW, "tickstock:market:ticks", "tickstock.all_ticks", "tickstock.ticks.AAPL")
    for number in range(3):
        for to in everywhere:
            application.publish(to, json.dumps(trade(number)))
    wait_for(lambda: len(listening.rows()) >= 3)
    listening.end()
    assert [price for _, _, price, _ in listening.rows()] == [1.0, 2.0, 3.0]


def test_a_family_that_nobody_publishes_is_refused():
    with pytest.raises(UsageError, match=r"tickstock\.raw.*one of tickstock\.data\.raw, tickstock:market:ticks"):
        ChannelSource("redis://127.0.0.1:1/0", "tickstock.raw", stop=threading.Event())


def test_probes_say_nothing_and_what_is_no_tick_goes_along_as_refused(application, listen, wait_for):
    listening = listen()
    application.publish(RAW, json.dumps({"test": "health_check", "timestamp": 1_764_081_000.0}))
    application.publish(RAW, "no JSON")
    publish(application, trade(0))
    wait_for(listening.rows)
    assert [(row.reason, row.original) for row in listening.ticks.refused] == [("not_json", b"no JSON")]
    assert len(listening.rows()) == 1


def test_only_the_symbols_of_the_universe_are_taken_and_they_may_change(application, listen, wait_for):
    listening = listen(symbols=["AAPL"])
    publish(application, trade(0, "SPY"), trade(1))
    wait_for(listening.rows)
    listening.source.set_symbols(["SPY"])
    publish(application, trade(2), trade(3, "SPY"))
    wait_for(lambda: len(listening.rows()) == 2)
    listening.source.set_symbols(["*"])
    publish(application, trade(4, "QQQ"))
    wait_for(lambda: len(listening.rows()) == 3)
    taken = [(symbol, price) for symbol, _, price, _ in listening.rows()]
    assert taken == [("AAPL", 2.0), ("SPY", 4.0), ("QQQ", 5.0)]


@pytest.mark.parametrize(("means", "minute"), [("end", "14:29"), ("start", "14:30")])
def test_a_whole_second_that_says_no_kind_ends_or_starts_as_we_are_told(application, listen, wait_for, means, minute):
    listening = listen("tickstock:market:ticks", second_stamp=means)
    message = {"type": "market_tick", "symbol": "SPY", "price": 1.0, "volume": 1, "timestamp": float(HALF_PAST_TWO)}
    publish(application, message, to="tickstock:market:ticks")
    wait_for(listening.rows)
    assert listening.rows()[0][1] // 60_000_000_000 - HALF_PAST_TWO // 60 == {"14:29": -1, "14:30": 0}[minute]


def test_seconds_become_bars_of_the_right_minute_with_the_highs_and_lows_of_their_own_columns(
    stream, work, application, listen, wait_for
):  # fmt: skip
    listening = listen()
    start = stream.minute_ns // 10**9
    publish(
        application,
        second(start + 1, 10.0, 10.9, 9.7, 10.2, 100),
        second(start + 59, 10.2, 10.4, 9.1, 10.3, 50),
        second(start + 60, 10.3, 11.5, 10.1, 10.5, 25),  # the last of its minute, stamped with the next one's start
        second(start + 61, 20.0, 20.5, 19.5, 20.1, 7),
    )
    wait_for(lambda: len(listening.rows()) == 4)
    stream.add(make_frame(LIVE, listening.ticks, "live", 0, 4, stream.now_ms))

    def bars():
        columns = "extract(epoch FROM timestamp)::bigint, open, high, low, close, volume, trade_count"
        with psycopg.connect(stream.servers.database_url) as connection:
            statement = f"SELECT {columns} FROM ohlcv_1min WHERE symbol = 'AAPL' ORDER BY timestamp"
            return [(row[0], *map(float, row[1:])) for row in connection.execute(statement)]

    work(lambda: len(bars()) == 2)
    assert bars() == [(start, 10.0, 11.5, 9.1, 10.5, 175.0, 3.0), (start + 60, 20.0, 20.5, 19.5, 20.1, 7.0, 1.0)]


# -- cuts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def gaps():
    """Give a list of what on_gap was told."""
    return []


def cut(application):
    """End the source's connection, as Redis does to a subscriber that is too slow."""
    assert application.client_kill_filter(_type="pubsub") == 1


def test_a_cut_is_told_as_the_market_time_from_the_last_message_to_the_first_after_it(
    application, listen, wait_for, gaps
):
    listening = listen(on_gap=lambda *gap: gaps.append(gap))
    publish(application, second(HALF_PAST_TWO + 10, 1, 1, 1, 1, 1))
    wait_for(listening.rows)
    cut(application)
    wait_for(lambda: application.publish(RAW, PROBE))
    assert gaps == []  # a probe has no market time
    publish(application, second(HALF_PAST_TWO + 75, 2, 2, 2, 2, 2), second(HALF_PAST_TWO + 76, 3, 3, 3, 3, 3))
    wait_for(lambda: len(listening.rows()) == 3)
    # Each second is put inside itself: 14:30:10 is 14:30:09.999.
    first, last, symbols, why = gaps.pop()
    assert (gaps, first, symbols) == ([], HALF_PAST_TWO * 1000 + 9_999, None)
    assert last in (HALF_PAST_TWO * 1000 + 74_999, HALF_PAST_TWO * 1000 + 75_999)  # both may come in one batch
    assert why.startswith("channel tickstock.data.raw: ")
    assert gap_reasons.label_of(why) == "channel_lost"


def test_a_cut_before_any_message_begins_when_we_began_to_listen(application, listen, wait_for, gaps):
    seconds, _ = application.time()
    listen(on_gap=lambda *gap: gaps.append(gap))
    cut(application)
    wait_for(lambda: application.publish(RAW, PROBE))
    publish(application, trade(0, timestamp=seconds + 0.5))
    (first, last, symbols, _) = wait_for(lambda: gaps)[0]
    assert seconds * 1000 <= first <= last
    assert (symbols, len(gaps)) == (None, 1)


def test_a_cut_that_is_still_open_at_the_stop_is_a_gap_until_then(application, listen, wait_for, gaps):
    listening = listen(on_gap=lambda *gap: gaps.append(gap))
    publish(application, trade(0))
    wait_for(listening.rows)
    cut(application)
    wait_for(lambda: application.publish(RAW, PROBE))
    seconds, _ = application.time()
    listening.end()
    (gap,) = gaps
    assert gap[0] == HALF_PAST_TWO * 1000 + 250
    assert gap[1] >= seconds * 1000


def test_a_server_that_does_not_answer_any_more_is_left_and_heard_again(
    application, listen, wait_for, gaps, monkeypatch
):
    monkeypatch.setattr(channel, "_SILENCE_S", 0.5)
    listening = listen(on_gap=lambda *gap: gaps.append(gap))
    publish(application, trade(0))
    wait_for(listening.rows)
    application.client_pause(2000)  # it keeps the connection, and answers nothing
    wait_for(lambda: application.publish(RAW, json.dumps(trade(1))) and gaps)
    assert "Timeout" in gaps[0][3]


def test_silence_alone_is_no_cut(application, listen, wait_for, gaps, monkeypatch):
    monkeypatch.setattr(channel, "_SILENCE_S", 1.0)  # so long may an answer take too
    listening = listen(on_gap=lambda *gap: gaps.append(gap))

    def pings():
        return next(c["cmd"] for c in application.client_list(_type="pubsub")) == "ping"

    wait_for(pings)
    publish(application, trade(0))
    wait_for(listening.rows)
    assert gaps == []


def test_a_role_that_may_not_hear_the_channel_ends_the_source_with_a_clear_error(application, listen, servers):
    name, password = f"user_{uuid4().hex}", uuid4().hex
    application.acl_setuser(name, enabled=True, passwords=[f"+{password}"], categories=["+@all"], reset_channels=True)
    address = urlsplit(servers.redis_url)
    url = address._replace(netloc=f"{name}:{password}@{address.hostname}:{address.port}").geturl()
    try:
        listening = listen(url=url)
    finally:
        application.acl_deluser(name)
    assert "tickstock.data.raw" in str(listening.error)
    assert password not in str(listening.error)


# -- many messages ---------------------------------------------------------------------------------------------------


def publish_many(application, count):
    pipeline = application.pipeline(transaction=False)
    for number in range(count):
        pipeline.publish(RAW, json.dumps(trade(number)))
    assert pipeline.execute() == [1] * count


def test_twenty_thousand_messages_at_once_are_all_heard_in_their_order(application, listen, wait_for):
    listening = listen()
    publish_many(application, 20_000)
    wait_for(lambda: sum(map(len, listening.batches)) == 20_000)
    assert listening.ticks.price.tolist() == [1.0 + number for number in range(20_000)]


def test_a_full_queue_holds_the_messages_back_and_loses_none(servers, application, wait_for, monkeypatch):
    monkeypatch.setattr(channel, "MAX_WAITING_BYTES", 20_000)
    stop, heard, gaps = threading.Event(), [], []
    source = ChannelSource(servers.redis_url, RAW, stop=stop, on_gap=lambda *gap: gaps.append(gap))
    ticks = iter(source)
    next(ticks)
    wait_for(lambda: application.publish(RAW, PROBE))
    publish_many(application, 5_000)  # over 500 kB, while nobody takes any
    wait_for(lambda: source._listener._bytes_put > 20_000)
    assert source._listener._bytes_put < 30_000
    wait_for(lambda: heard.append(next(ticks)) or sum(len(batch) for batch in heard if batch is not None) == 5_000)
    source.close()
    prices = concat(batch for batch in heard if batch is not None).price.tolist()
    assert (prices, gaps) == ([1.0 + number for number in range(5_000)], [])
