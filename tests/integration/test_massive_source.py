"""Massive's live feed -> ticks, against the pretend server: login, subscriptions, breaks, silence."""

import http.server
import threading
import time
from contextlib import contextmanager
from uuid import uuid4

import msgspec
import pytest
from massive import WebSocketClient
from structlog.testing import capture_logs
from tickstockpl.contracts import gap_reasons
from tickstockpl.contracts.errors import SetupError, UsageError
from tickstockpl.contracts.spellings.trade_key import trade_key
from tickstockpl.contracts.ticks import concat
from tickstockpl.ops.fake_massive import FakeMassive
from tickstockpl.ops.fake_massive.tape import SyntheticTape
from tickstockpl.ops.fake_massive.trade import trade_of
from tickstockpl.producer.massive.breaks import Breaks
from tickstockpl.producer.massive.feed import Inbox, MassiveSource
from tickstockpl.producer.massive.reader import MassiveOptions
from tickstockpl.producer.synthetic import Market

KEY = uuid4().hex  # a random one: no key stands in a file
MINUTE_MS = 60_000


def now_ms():
    return time.time_ns() // 1_000_000


class Hearing:
    """A source that is iterated in a thread; what it raised stands in `error`."""

    def __init__(self, fake, symbols=None, **options):
        self.batches, self.gaps, self.error = [], [], None
        self.stop = threading.Event()
        is_watched = options.pop("is_watched", lambda: True)
        chosen = MassiveOptions(fake.websocket_url, options.pop("key", KEY), **options)
        self.source = MassiveSource(
            chosen, symbols, stop=self.stop, now_ms=now_ms, on_gap=lambda *gap: self.gaps.append(gap),
            is_watched=is_watched,
        )  # fmt: skip
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            self.batches.extend(ticks for ticks in self.source if ticks is not None)
        except SetupError as e:
            self.error = e

    @property
    def prices(self):
        return concat(list(self.batches)).price.tolist() if self.batches else []

    def close(self):
        self.stop.set()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def fake():
    with FakeMassive(key=KEY) as server:
        yield server


@contextmanager
def hearing(fake, *args, **options):
    heard = Hearing(fake, *args, **options)
    try:
        yield heard
    finally:
        heard.close()


def trade(price, symbol="AAPL", **more):
    return trade_of(symbol, now_ms(), float(price), 100, **more)


@contextmanager
def subscribed(fake, wait_for, *args, topics=frozenset({"T.*"}), **options):
    """Hear the server, from when it has let us in and knows what we want."""
    with hearing(fake, *args, **options) as heard:
        wait_for(lambda: fake.subscribed == topics)
        yield heard


def test_trades_come_in_their_order_with_rules_and_keys(fake, wait_for):
    with subscribed(fake, wait_for) as heard:
        fake.tell(trade(1, trade_id="7", exchange=4), trade(2, "BRK.B", conditions=(37,)))
        fake.tell(trade(3))
        wait_for(lambda: len(heard.prices) == 3)

    ticks = concat(heard.batches)
    assert ticks.price.tolist() == [1.0, 2.0, 3.0]
    assert [ticks.symbols[i] for i in ticks.symbol_index] == ["AAPL", "BRK.B", "AAPL"]
    assert ticks.optional["flags"].tolist() == [7, 4, 7]
    assert ticks.optional["trade_key"][0] == 7 * 256 + 4
    assert heard.gaps == []


def test_the_official_client_and_ours_hear_the_same_trades(wait_for):
    market = Market(start_ns=time.time_ns(), symbols=5, rate=2_000, seed=3)
    theirs = []
    with FakeMassive(SyntheticTape(market)) as fake, hearing(fake) as ours:
        wait_for(lambda: fake.subscribed == {"T.*"})
        client = WebSocketClient(
            api_key=uuid4().hex, feed=f"127.0.0.1:{fake.port}", secure=False, subscriptions=["T.*"]
        )  # fmt: skip
        thread = threading.Thread(target=client.run, args=(theirs.extend,))
        thread.start()
        wait_for(lambda: len(theirs) > 500)
        last = theirs[-1]
        wait_for(lambda: (last.symbol, trade_key(last.exchange, last.id)) in set(keys(ours)))
        fake.stop()
        thread.join(60)

    first = keys(ours).index((theirs[0].symbol, trade_key(theirs[0].exchange, theirs[0].id)))
    ticks = concat(ours.batches)
    ours_then = ticks.take(slice(first, first + len(theirs)))
    assert ours_then.ts.tolist() == [one.timestamp * 1_000_000 for one in theirs][: len(ours_then)]
    assert ours_then.price.tolist() == [one.price for one in theirs][: len(ours_then)]
    assert ours_then.size.tolist() == [float(one.fractional_shares) for one in theirs][: len(ours_then)]
    assert len(ours_then) > 500


def keys(heard):
    ticks = concat(list(heard.batches))
    symbols = [ticks.symbols[i] for i in ticks.symbol_index]
    return list(zip(symbols, ticks.optional["trade_key"].tolist(), strict=True))


def test_only_the_symbols_asked_for_are_subscribed_and_they_change_while_it_runs(fake, wait_for):
    with subscribed(fake, wait_for, ["AAPL", "MSFT"], topics={"T.AAPL", "T.MSFT"}) as heard:
        heard.source.set_symbols(["MSFT", "BRK.B"])
        wait_for(lambda: fake.subscribed == {"T.MSFT", "T.BRK.B"})
        fake.tell(trade(1), trade(2, "BRK.B"))
        wait_for(lambda: heard.prices == [2.0])


def test_a_thousand_symbols_are_subscribed_in_several_messages(fake, wait_for):
    symbols = [f"S{i:04}" for i in range(1200)]

    with subscribed(fake, wait_for, symbols, channel="AM", topics={f"AM.{symbol}" for symbol in symbols}):
        pass


def test_after_a_cut_it_connects_again_and_tells_what_it_may_have_missed(fake, wait_for):
    with subscribed(fake, wait_for, ["AAPL"], topics={"T.AAPL"}) as heard:
        fake.tell(trade(1))
        wait_for(lambda: heard.prices == [1.0])
        before_ms = now_ms()
        fake.misbehave("cut")
        wait_for(lambda: heard.gaps)
        wait_for(lambda: fake.subscribed == {"T.AAPL"})
        fake.tell(trade(2))
        wait_for(lambda: heard.prices == [1.0, 2.0])

    ((first_ms, last_ms, symbols, why),) = heard.gaps
    assert first_ms < before_ms < last_ms < now_ms() + 5_000
    assert before_ms - first_ms < MINUTE_MS
    assert list(symbols) == ["AAPL"]
    assert why


def test_cuts_without_end_are_borne_and_make_one_gap_until_the_feed_is_back(fake, wait_for):
    with subscribed(fake, wait_for) as heard:
        fake.tell(trade(1))
        wait_for(lambda: heard.prices == [1.0])
        fake.misbehave("5xx")
        fake.misbehave("cut")
        wait_for(lambda: fake.connections == 0)
        fake.behave()
        wait_for(lambda: fake.subscribed == {"T.*"})
        wait_for(lambda: heard.gaps)

    assert len(heard.gaps) == 1


def test_silence_in_market_hours_ends_the_connection_and_is_told_as_a_gap(fake, wait_for):
    with subscribed(fake, wait_for, silence_s=0.3) as heard:
        wait_for(lambda: heard.gaps)

    assert heard.gaps[0][3] == gap_reasons.SILENT


def test_silence_outside_market_hours_is_borne(fake, wait_for):
    looks = []
    with subscribed(fake, wait_for, silence_s=0.1, is_watched=lambda: looks.append(1)) as heard:
        wait_for(lambda: len(looks) > 2)
        fake.tell(trade(1))
        wait_for(lambda: heard.prices == [1.0])

    assert heard.gaps == []


def test_a_refused_key_stops_the_feed_and_says_what_to_check(fake, wait_for):
    with hearing(fake, key=uuid4().hex) as heard:
        wait_for(lambda: heard.error)

    assert "MASSIVE_API_KEY" in str(heard.error)


def test_a_feed_that_another_process_took_is_left_to_it_for_a_while(fake, wait_for):
    with capture_logs() as lines, subscribed(fake, wait_for, held_s=2.0) as heard:
        taken_s = time.monotonic()
        fake.misbehave("max_connections")
        wait_for(lambda: heard.gaps)
        away_s = time.monotonic() - taken_s

    assert heard.gaps[0][3] == gap_reasons.FEED_TAKEN
    assert away_s > 0.9  # a cut alone is over in 0.2 s
    lost = next(line for line in lines if line["event"] == "server away")
    assert (lost["server"], lost["why"]) == ("massive", gap_reasons.FEED_TAKEN)


def test_events_that_are_no_trades_are_refused_and_the_trades_between_them_stay(fake, wait_for):
    fake.misbehave("garbage")
    with subscribed(fake, wait_for) as heard:
        fake.tell(trade(1))
        wait_for(lambda: 1.0 in heard.prices)
        refused = concat(heard.batches).refused

    assert {row.reason for row in refused} >= {"price", "symbol", "unknown_shape"}


def test_an_unknown_condition_is_reported_once(fake, wait_for):
    with capture_logs() as lines, subscribed(fake, wait_for) as heard:
        for price in (1, 2, 3):
            fake.tell(trade(price, conditions=(999,)))
            wait_for(lambda price=price: len(heard.prices) == price)

    assert [line["conditions"] for line in lines if "unknown" in line["event"]] == [["999"]]


def test_a_full_inbox_keeps_the_reader_waiting_and_loses_nothing(wait_for):
    inbox, got = Inbox(max_bytes=100), []
    bodies = [b"%030d" % i for i in range(50)]
    reader = threading.Thread(target=lambda: [inbox.put(body) for body in bodies])
    reader.start()
    wait_for(lambda: inbox.times_full)
    while len(got) < len(bodies):
        assert inbox.wait(60.0)
        got += inbox.take()
    reader.join()

    assert got == bodies
    assert inbox.times_full > 1


def test_a_key_never_travels_in_the_clear_to_the_vendor():
    with pytest.raises(UsageError, match="clear"):
        MassiveOptions("ws://socket.massive.com/stocks", KEY)


def test_the_key_is_in_no_repr():
    assert KEY not in repr(MassiveOptions("wss://socket.massive.com/stocks", KEY))


def test_a_reader_that_was_behind_when_it_was_cut_has_missed_more():
    gaps = []
    breaks = Breaks("T", now_ms=now_ms, on_gap=lambda *gap: gaps.append(gap))
    before_ms = now_ms()
    breaks.listen()
    breaks.end(None)
    breaks.hear(msgspec.json.encode([trade_of("AAPL", before_ms - 20_000, 1.0, 100)]))
    breaks.begin("cut", was_silent=False)
    breaks.end(None)

    ((first_ms, last_ms, symbols, why),) = gaps
    assert before_ms - 24_000 <= first_ms <= before_ms - 20_000
    assert last_ms >= before_ms
    assert (symbols, why) == (None, "cut")


# -- what the server says of itself, and answers of no feed ------------------------------------------------------------


def says(status, message):
    return msgspec.json.encode([{"ev": "status", "status": status, "message": message}]).decode()


def test_an_unknown_status_is_said_once_without_the_key_and_ticks_come_on(fake, wait_for):
    with capture_logs() as lines, subscribed(fake, wait_for) as heard:
        for n in range(3):
            fake.say(says("maintenance\x1b[31m", f"{KEY} moves\nat noon"))
            fake.tell(trade(n + 1))
        wait_for(lambda: heard.prices == [1.0, 2.0, 3.0])

    (line,) = [line for line in lines if line["event"] == "massive says"]
    assert (line["status"], line["why"]) == (r"maintenance\x1b[31m", r"*** moves\nat noon")
    assert line["url"] == fake.websocket_url
    assert heard.gaps == []


def test_a_plan_without_the_channel_is_said_with_the_address_and_what_to_look_at(fake, wait_for):
    with capture_logs() as lines, subscribed(fake, wait_for) as heard:
        for _ in range(3):
            fake.say(says("not_authorized", "not authorized for T.*"))
        fake.tell(trade(1))
        wait_for(lambda: heard.prices == [1.0])

    (line,) = [line for line in lines if line["event"] == "massive says"]
    assert "plan" in line["do"]
    assert line["url"] == fake.websocket_url


class ProxyPage(http.server.BaseHTTPRequestHandler):
    """A proxy, or another server, where the feed should be."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.times.append(time.monotonic())
        self.send_response(self.server.status)
        self.send_header("Location", "ws://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *_):
        pass


@pytest.fixture(params=[200, 301, 302, 401, 403, 404, 503])
def no_feed(request):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ProxyPage)
    server.status, server.times = request.param, []
    server.websocket_url = f"ws://127.0.0.1:{server.server_port}/stocks?apiKey={KEY}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_address_without_a_feed_is_said_once_and_asked_later_each_time(no_feed, wait_for):
    with capture_logs() as lines, hearing(no_feed):
        wait_for(lambda: len(no_feed.times) == 4)

    (line,) = [line for line in lines if line["event"] == "server away"]
    assert line["server"] == "massive"
    assert ("redirects" if no_feed.status in (301, 302) else str(no_feed.status)) in line["why"]
    assert line["url"] == f"ws://127.0.0.1:{no_feed.server_port}/stocks"
    assert KEY not in str(lines)
    first, second, third, fourth = no_feed.times
    assert fourth - third > 0.4  # 0.1 s * 2 ** 3, of which jitter takes a half at most
    assert fourth - first > third - second
