"""The pretend Massive server, as the official client and plain ones see it."""

import json
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from urllib.error import HTTPError
from uuid import uuid4

import pytest
from massive import RESTClient, WebSocketClient
from massive.exceptions import AuthError, BadResponse
from tickstockpl.contracts.errors import UsageError
from tickstockpl.ops.fake_massive import FakeMassive
from tickstockpl.ops.fake_massive.aggregates import Bar
from tickstockpl.ops.fake_massive.misbehaviour import Plan, parse_plan
from tickstockpl.ops.fake_massive.recorded_tape import RecordedTape
from tickstockpl.ops.fake_massive.tape import SyntheticTape
from tickstockpl.ops.fake_massive.trade import trade_of
from tickstockpl.ops.fake_massive.update_rules import sets
from tickstockpl.producer.synthetic import Market
from websockets.exceptions import ConnectionClosedError, InvalidMessage
from websockets.sync.client import connect as connect_to

KEY = uuid4().hex  # a random one: no key stands in a file
MINUTE = 1_748_874_600_000  # Monday 2025-06-02, 10:30 in New York
NOON = MINUTE + 90 * 60_000

# A minute of which every number is easy to add up by hand. AAPL's odd lot has the extreme price, and sets none.
MORNING = (
    trade_of("AAPL", MINUTE + 100, 200.0, 100, exchange=12, trade_id="11", sequence=1),
    trade_of("AAPL", MINUTE + 900, 201.0, 300, conditions=(14,), exchange=4, trade_id="12", sequence=2, trf_id=202),
    trade_of("AAPL", MINUTE + 1_000, 150.0, 50, conditions=(37,), exchange=11, trade_id="13", sequence=3),
    trade_of("BRK.B", MINUTE + 1_500, 500.0, 0.25, exchange=11, trade_id="14", sequence=4),
    trade_of("AAPL", MINUTE + 59_999, 200.5, 100.5, exchange=11, trade_id="15", sequence=5),
)
# 200 x 100 + 201 x 300 + 150 x 50 + 200.5 x 100.5 = 107950.25 dollars for 550.5 shares
AAPL_BAR = Bar("AAPL", MINUTE, 200.0, 201.0, 200.0, 200.5, 550.5, 107950.25 / 550.5, 4)
BRK_BAR = Bar("BRK.B", MINUTE, 500.0, 500.0, 500.0, 500.0, 0.25, 500.0, 1)


@pytest.fixture
def fake():
    with FakeMassive(key=KEY) as server:
        yield server


@pytest.fixture
def rest(fake):
    return RESTClient(api_key=KEY, base=fake.rest_url, retries=0)


def connect(url):
    """Connect as a client of endless patience: with limits of its own, a busy machine would look like a fault."""
    return connect_to(url, open_timeout=60, ping_interval=None, close_timeout=60)


@contextmanager
def listening(fake, *subscriptions, key=KEY):
    """Yield a plain connection that is let in and subscribed."""
    with connect(fake.websocket_url) as socket:
        said(socket)
        socket.send(json.dumps({"action": "auth", "params": key}))
        assert said(socket)[0]["status"] == "auth_success"
        socket.send(json.dumps({"action": "subscribe", "params": ",".join(subscriptions)}))
        assert [status["status"] for status in said(socket)] == ["success" for _ in subscriptions]
        yield socket


def said(socket):
    return json.loads(socket.recv(timeout=60))


@contextmanager
def official(fake, *subscriptions, key=KEY):
    """Run the official client in a thread until the server stops; yield what it gets."""
    got = []
    client = WebSocketClient(
        api_key=key, feed=f"127.0.0.1:{fake.port}", secure=False, subscriptions=list(subscriptions)
    )
    thread = Thread(target=client.run, args=(got.extend,))
    thread.start()
    try:
        yield got
    finally:
        fake.stop()
        thread.join(60)
        assert not thread.is_alive()


def minutes(rest, symbol, first=MINUTE, last=MINUTE + 3_600_000, **options):
    return list(rest.list_aggs(symbol, 1, "minute", first, last, adjusted=False, **options))


def get(url):
    with urllib.request.urlopen(url) as reply:
        return json.load(reply)


def test_the_official_client_gets_the_trades_as_they_were_told(fake, wait_for):
    with official(fake, "T.*") as got:
        wait_for(lambda: fake.subscribed)
        fake.tell(*MORNING)
        wait_for(lambda: len(got) == 5)
    first, second = got[0], got[1]
    assert (first.symbol, first.price, first.size, first.exchange, first.id) == ("AAPL", 200.0, 100, 12, "11")
    assert (second.conditions, second.timestamp, second.trf_id, second.sequence_number) == ([14], MINUTE + 900, 202, 2)
    assert [(trade.size, trade.fractional_shares) for trade in got[3:]] == [(0, "0.25"), (100, "100.5")]


def both_subscribed(fake):
    return fake._call(lambda: [c.subscribed for c in fake._broadcast.connections]) == [{"T.*"}, {"T.*"}]


def test_two_clients_with_keys_of_their_own_get_the_same_trades(wait_for):
    other = uuid4().hex
    with FakeMassive() as fake, official(fake, "T.*") as got:
        with listening(fake, "T.*", key=other) as socket:
            wait_for(lambda: both_subscribed(fake))
            fake.tell(*MORNING)
            trades = said(socket)
        wait_for(lambda: len(got) == 5)
    assert [trade["i"] for trade in trades] == [trade.id for trade in got] == ["11", "12", "13", "14", "15"]


def test_a_subscription_is_for_its_channel_and_symbol_only(fake):
    with listening(fake, "T.BRK.B", "AM.AAPL") as socket:
        fake.tell(*MORNING)
        assert [(event["ev"], event["sym"]) for event in said(socket)] == [("T", "BRK.B"), ("AM", "AAPL")]


def test_nothing_comes_after_unsubscribing(fake):
    with listening(fake, "T.AAPL", "T.BRK.B") as socket:
        socket.send(json.dumps({"action": "unsubscribe", "params": "T.AAPL"}))
        assert said(socket) == [{"ev": "status", "status": "success", "message": "unsubscribed to: T.AAPL"}]
        fake.tell(*MORNING)
        assert [event["sym"] for event in said(socket)] == ["BRK.B"]


def test_a_second_holds_its_trades_by_the_rules(fake):
    with listening(fake, "A.AAPL") as socket:
        fake.tell(*MORNING)
        first, last = said(socket)  # the second between has only an odd lot: no prices, so no event
    assert first == {
        "ev": "A", "sym": "AAPL", "v": 400, "dv": "400.0", "av": 550, "dav": "550.5", "op": 200.0, "vw": 200.75,
        "o": 200.0, "c": 201.0, "h": 201.0, "l": 200.0, "a": 196.0949, "z": 200, "s": MINUTE, "e": MINUTE + 1_000,
    }  # fmt: skip
    assert (last["s"], last["e"], last["dv"]) == (MINUTE + 59_000, MINUTE + 60_000, "100.5")


def test_a_late_trade_is_told_once_as_a_second_and_its_minute_again_as_a_whole(fake):
    with listening(fake, "A.AAPL", "AM.AAPL") as socket:
        fake.tell(*MORNING)
        told = [(event["ev"], event["dv"]) for event in said(socket)]
        fake.tell(trade_of("AAPL", MINUTE + 950, 202.0, 10, sequence=6))
        again = [(event["ev"], event["dv"], event["h"]) for event in said(socket)]
    assert told == [("A", "400.0"), ("A", "100.5"), ("AM", "550.5")]
    assert again == [("A", "10.0", 202.0), ("AM", "560.5", 202.0)]


def test_the_bars_are_those_of_the_trades_added_up_by_hand(fake):
    fake.tell(*MORNING)
    assert fake.bars() == [AAPL_BAR, BRK_BAR]


def test_the_bars_of_the_seconds_leave_out_what_no_second_told(fake):
    fake.tell(*MORNING)
    (bar,) = fake.bars("AAPL", channel="A")
    assert bar == Bar("AAPL", MINUTE, 200.0, 201.0, 200.0, 200.5, 500.5, (200.75 * 400 + 200.5 * 100.5) / 500.5, 2)


def test_a_minute_of_odd_lots_has_no_bar(fake, rest):
    fake.tell(trade_of("AAPL", MINUTE, 200.0, 5, conditions=(37,)))
    assert (fake.bars(), minutes(rest, "AAPL")) == ([], [])


@pytest.mark.parametrize(
    ("conditions", "open_close", "high_low", "volume"),
    [
        ((), True, True, True),
        ((14, 41), True, True, True),
        ((37,), False, False, True),
        ((14, 37), False, False, True),
        ((10,), False, True, True),
        ((15,), False, False, False),
        ((38,), False, False, False),
        ((2, 38), False, False, False),
        ((12,), False, False, True),
        ((240,), False, False, True),
    ],
)
def test_every_condition_of_a_trade_must_allow_what_it_sets(conditions, open_close, high_low, volume):
    assert sets(conditions, NOON) == (open_close, high_low, volume)


@pytest.mark.parametrize(
    ("hour", "minute", "counts"),
    [(3, 59, False), (4, 0, True), (9, 29, True), (9, 30, False), (15, 59, False), (16, 0, True), (20, 0, False)],
)
def test_form_t_sets_prices_before_and_after_the_regular_hours_only(hour, minute, counts):
    midnight = datetime(2025, 6, 2, 4, tzinfo=UTC)  # New York is 4 hours behind in June
    at = midnight + timedelta(hours=hour, minutes=minute)
    assert sets((12,), int(at.timestamp() * 1000)) == (counts, counts, True)


@pytest.mark.parametrize(
    ("at", "counts"),
    [
        ("2025-07-03 16:59", False),  # 12:59 in New York
        ("2025-07-03 17:00", True),
        ("2025-07-03 20:59", True),
        ("2025-07-03 21:00", False),
        ("2025-11-28 18:00", True),  # the day after Thanksgiving
        ("2026-11-27 18:00", True),
        ("2026-12-24 18:00", True),
        ("2025-11-21 18:00", False),
        ("2026-11-20 18:00", False),
        ("2027-12-23 18:00", False),  # Christmas Eve is a holiday then
        ("2026-07-02 17:00", False),
    ],
)
def test_form_t_sets_prices_from_one_on_after_the_early_close_of_a_half_day(at, counts):
    at_ms = int(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() * 1000)
    assert sets((12,), at_ms) == (counts, counts, True)


def test_the_official_rest_client_gets_the_bars_over_all_pages(fake, rest):
    fake.tell(*(trade_of("AAPL", MINUTE + i * 60_000, 200.0 + i, 100 + i, sequence=i) for i in range(5)))
    got = minutes(rest, "AAPL", limit=2)
    assert [(bar.timestamp, bar.open, bar.volume, bar.vwap, bar.transactions) for bar in got] == [
        (MINUTE, 200.0, 100, 200.0, 1),
        (MINUTE + 60_000, 201.0, 101, 201.0, 1),
        (MINUTE + 120_000, 202.0, 102, 202.0, 1),
        (MINUTE + 180_000, 203.0, 103, 203.0, 1),
        (MINUTE + 240_000, 204.0, 104, 204.0, 1),
    ]
    assert len(fake.requests) == 3


def test_rest_pages_backwards_too(fake, rest):
    fake.tell(*(trade_of("AAPL", MINUTE + i * 60_000, 200.0 + i, 100, sequence=i) for i in range(5)))
    assert [bar.open for bar in minutes(rest, "AAPL", limit=2, sort="desc")] == [204.0, 203.0, 202.0, 201.0, 200.0]


def test_a_day_of_rest_is_a_day_of_new_york(fake, rest):
    midnight = int(datetime(2025, 6, 2, 4, tzinfo=UTC).timestamp() * 1000)
    ends = (midnight - 60_000, midnight, midnight + 86_340_000, midnight + 86_400_000)
    fake.tell(*(trade_of("AAPL", at, 200.0, 100) for at in ends))
    assert [bar.timestamp for bar in minutes(rest, "AAPL", "2025-06-02", "2025-06-02")] == [*ends[1:3]]


def test_a_wrong_key_is_let_in_nowhere(fake):
    client = WebSocketClient(api_key=uuid4().hex, feed=f"127.0.0.1:{fake.port}", secure=False, subscriptions=["T.*"])
    with pytest.raises(AuthError, match="authentication failed"):
        client.run(lambda _: None)
    with pytest.raises(BadResponse, match="Unknown API Key"):
        minutes(RESTClient(api_key=uuid4().hex, base=fake.rest_url), "AAPL")


def test_who_is_not_let_in_cannot_subscribe(fake):
    with connect(fake.websocket_url) as socket:
        assert said(socket) == [{"ev": "status", "status": "connected", "message": "Connected Successfully"}]
        socket.send(json.dumps({"action": "subscribe", "params": "T.*"}))
        assert said(socket) == [{"ev": "status", "status": "error", "message": "not authorized"}]


def test_a_second_connection_with_a_key_ends_the_older_one(fake):
    with listening(fake, "T.*") as older, listening(fake, "T.*") as newer:
        assert said(older)[0]["status"] == "max_connections"
        with pytest.raises(ConnectionClosedError):
            older.recv(timeout=60)
        fake.tell(MORNING[0])
        assert said(newer)[0]["i"] == "11"


def test_what_is_told_while_a_client_is_cut_off_is_lost_for_it_and_kept_by_rest(fake, rest):
    with listening(fake, "T.*") as socket:
        fake.misbehave("cut")
        with pytest.raises(ConnectionClosedError):
            socket.recv(timeout=60)
    fake.tell(*MORNING[:2])
    with listening(fake, "T.*") as socket:
        fake.tell(MORNING[2])
        assert [trade["i"] for trade in said(socket)] == ["13"]
    assert [bar.volume for bar in minutes(rest, "AAPL")] == [450]


def test_no_connection_opens_while_a_cut_lasts(fake):
    fake.misbehave("cut", seconds=60)
    with pytest.raises(InvalidMessage), connect(fake.websocket_url):
        pass
    fake.behave()
    with listening(fake, "T.*"):
        assert fake.connections == 1


def test_a_stalled_connection_stays_open_and_says_nothing(fake):
    with listening(fake, "T.*") as socket:
        fake.misbehave("stall")
        fake.tell(MORNING[0])
        assert socket.ping().wait(60)
        fake.behave()
        fake.tell(MORNING[1])
        assert [trade["i"] for trade in said(socket)] == ["12"]


def test_every_message_of_a_server_that_talks_garbage_holds_the_trades_too(fake):
    with listening(fake, "T.*") as socket:
        fake.misbehave("garbage")
        fake.tell(MORNING[0])
        first, *others = said(socket)
    assert (first["i"], [event["ev"] for event in others]) == ("11", ["Q", "NEW", "T", "T"])


def test_max_connections_on_command_ends_every_connection(fake):
    with listening(fake, "T.*") as socket:
        fake.misbehave("max_connections")
        assert said(socket)[0]["status"] == "max_connections"


def test_a_slow_server_says_everything_in_order():
    with FakeMassive(slow_s=0.1) as fake, listening(fake, "T.*") as socket:
        fake.misbehave("slow")
        fake.tell(MORNING[0])
        fake.behave()
        fake.tell(MORNING[1])
        assert [said(socket)[0]["i"], said(socket)[0]["i"]] == ["11", "12"]


def test_a_client_that_does_not_read_is_sent_away(fake, wait_for):
    with listening(fake, "T.*") as socket:

        def is_sent_away():
            # 64 MiB may wait in the server, and as much in the sockets as the system likes.
            for _ in range(10):
                fake.say("[" + " " * 1_000_000 + "]")
            return fake.connections == 0

        wait_for(is_sent_away)
        wait_for(lambda: [event["status"] for event in said(socket)] == ["slow_consumer"])
        with pytest.raises(ConnectionClosedError):
            socket.recv(timeout=60)


def test_a_plan_comes_true_by_itself():
    with FakeMassive(plans=[Plan("auth_failed")]) as fake, connect(fake.websocket_url) as socket:
        said(socket)
        socket.send(json.dumps({"action": "auth", "params": KEY}))
        assert said(socket)[0]["status"] == "auth_failed"


def test_a_port_that_is_taken_is_refused(fake):
    with pytest.raises(UsageError, match=f"port {fake.port}: "):
        FakeMassive(port=fake.port).start()


@pytest.mark.parametrize(("what", "status"), [("429", 429), ("5xx", 500)])
def test_rest_fails_so_many_times_and_then_answers(fake, rest, what, status):
    fake.tell(*MORNING)
    fake.misbehave(what, times=1)
    with pytest.raises(HTTPError) as failed:
        get(fake.rest_url + "/v2/aggs/ticker/AAPL/range/1/minute/1/2")
    with failed.value as reply:
        assert (reply.code, reply.headers["Retry-After"]) == (status, "1" if status == 429 else None)
    assert [bar.volume for bar in minutes(rest, "AAPL")] == [550.5]


def test_rest_has_nothing_where_it_is_told_to_be_empty(fake, rest):
    fake.tell(*MORNING)
    fake.misbehave("empty")
    assert minutes(rest, "AAPL") == []


@pytest.mark.parametrize(
    ("what", "host"), [("next_url_loop", "127.0.0.1"), ("next_url_elsewhere", "elsewhere.invalid")]
)
def test_the_next_page_leads_astray(fake, rest, what, host):
    fake.tell(*MORNING)
    fake.misbehave(what)
    page = json.loads(rest.get_aggs("AAPL", 1, "minute", MINUTE, MINUTE, raw=True).data)
    assert page["next_url"].startswith(f"http://{host}")
    assert f"/v2/aggs/ticker/AAPL/range/1/minute/{MINUTE}/{MINUTE}?cursor=" in page["next_url"]


def test_a_plan_says_what_when_and_how_long():
    assert [parse_plan(text) for text in ("cut", "429@30", "stall@1.5+10")] == [
        Plan("cut", 0.0, None),
        Plan("429", 30.0, None),
        Plan("stall", 1.5, 10.0),
    ]
    with pytest.raises(UsageError, match="'nap@3' is unknown"):
        parse_plan("nap@3")


def test_a_synthetic_tape_is_live_and_has_bars_of_the_time_before():
    start_ns = MINUTE * 1_000_000
    now = SimpleNamespace(ns=start_ns + 120 * 10**9)
    with FakeMassive(SyntheticTape(Market(rate=20, symbols=3, start_ns=start_ns)), now_ns=lambda: now.ns) as fake:
        assert {bar.start_ms for bar in fake.bars()} == {MINUTE, MINUTE + 60_000}
        with listening(fake, "T.*", key="any") as socket:
            now.ns += 10**9
            trades = said(socket)
    assert all(now.ns // 10**6 - 1_000 <= trade["t"] <= now.ns // 10**6 for trade in trades)
    assert len({(trade["x"], trade["i"]) for trade in trades}) == len(trades)


FLAT_FILE = """\
ticker,conditions,correction,exchange,id,participant_timestamp,price,sequence_number,sip_timestamp,size,tape,trf_id,trf_timestamp
AAPL,"14,41",0,12,71,0,200.5,2,1748874601000000000,100,3,0,0
AAPL,,0,4,72,0,200.75,3,1748874662000000000,200,3,202,0
AAPL,,1,4,73,0,999.0,4,1748874662000000000,200,3,202,0
BRK.B,37,0,11,74,0,500.25,1,1748874600500000000,7,1,0,0
"""


def test_a_recording_is_told_in_order_of_time_as_if_it_happened_now(tmp_path: Path):
    file = tmp_path / "trades.csv"
    file.write_text(FLAT_FILE)
    tape = RecordedTape([file], start_ns=NOON * 1_000_000, speed=10)
    assert tape.until(NOON * 1_000_000 - 1) == []
    first, second = tape.until((NOON + 6_149) * 1_000_000)
    (third,) = tape.until((NOON + 6_150) * 1_000_000)
    assert (first.symbol, first.at_ms, first.conditions) == ("BRK.B", NOON, (37,))
    assert (second.trade_id, second.at_ms, second.conditions) == ("71", NOON + 50, (14, 41))
    assert (third.price, third.at_ms, third.trf_id) == (200.75, NOON + 6_150, 202)
    assert tape.until(2**62) == []


def test_the_conditions_of_another_vendor_are_left_out(tmp_path: Path):
    file = tmp_path / "trades.csv"
    file.write_text(FLAT_FILE.replace("37", "20000020"))
    assert [trade.conditions for trade in RecordedTape([file]).until(2**62)] == [(), (), ()]


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path):
    file = tmp_path / "trades.csv"
    for content in ("time,amount\n1,2\n", FLAT_FILE.replace("200.75", "many"), FLAT_FILE.splitlines()[0]):
        file.write_text(content)
        with pytest.raises(UsageError, match=r"no trade|not a trade"):
            RecordedTape([file])


def test_the_command_says_where_it_listens_and_goes_wrong_on_demand():
    start = "from tickstockpl.ops.cli.channels.fake_massive_command import fake_massive; fake_massive()"
    command = [sys.executable, "-c", start, "--symbols", "3", "--rate", "50", "--history-s", "120", "--stop-with-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        where = json.loads(process.stdout.readline())
        assert len(get(where["rest"] + "/fake/bars?symbol=AAPL")["bars"]) >= 2
        assert get(where["rest"] + "/fake/misbehave?what=max_connections&seconds=60") == {"status": "OK"}
        with connect(where["websocket"]) as socket:
            said(socket)
            socket.send(json.dumps({"action": "auth", "params": "any"}))
            assert said(socket)[0]["status"] == "max_connections"
        with pytest.raises(HTTPError) as failed:
            get(where["rest"] + "/fake/misbehave?what=nap")
        failed.value.close()
        process.stdin.close()
        assert process.wait(60) == 0
