"""A dead letter holds what came in, whole: sent again once its cause is gone, it becomes what it was meant to be."""

import json
import threading

import pytest
import redis
from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.contracts.names import FRONT_DOOR
from tickstockpl.contracts.spellings.same_trade import SameTrades
from tickstockpl.contracts.spellings.tick_json import parse_bodies
from tickstockpl.producer.framer import Framer
from tickstockpl.producer.sending.stream_writer import StreamWriter

from .test_same_trade import Door, file, ledger, line, minutes, rows  # noqa: F401  # a fixture


@pytest.fixture
def door(migrated_servers):
    door = Door(migrated_servers)
    with door.redis:
        yield door


def letters(door):
    found = rows(door.servers, "SELECT reason, original FROM dead_letter ORDER BY id")
    return [(reason, json.loads(bytes(original))) for reason, original in found]


def requeue(door, tickstock, sent):
    ran = tickstock("dlq", "requeue", "--all", servers=door.servers)
    assert (ran.returncode, ran.stdout.splitlines()[0]) == (0, f"{sent} sent"), ran.stderr


NARROW = "ALTER TABLE ohlcv_1min " + ", ".join(
    f"ALTER COLUMN {name} TYPE numeric(10,4)" for name in ("open", "high", "low", "close")
)
WIDE = NARROW.replace("numeric(10,4)", "numeric(18,6)")
DEAR = 2_000_000.0  # more than numeric(10,4) holds


def test_trades_of_each_spelling_keep_what_they_said_and_count_when_the_table_holds_them(door, tickstock, wait_for):
    rows(door.servers, NARROW)
    with door.worker():
        door.data(door.trade("JSON", DEAR, i="71", c=[14, 41], trfi=201), door.trade("ODD", DEAR, i="a-1", c=[37]))
        door.plain("PLAIN", DEAR, exchange="XNAS", trade_id="p 1", trf_id="FINRA", conditions="14,41")
        said = {"type": "market_tick", "symbol": "APP", "price": DEAR, "volume": 2, "timestamp": door.second}
        door.redis.xadd(FRONT_DOOR, {"data": json.dumps(said | {"trade_id": 5, "exchange": 4})})
        second = {"ev": "A", "sym": "SEC", "o": 1.0, "h": DEAR, "l": 1.0, "c": 2.0, "vw": 1.5, "v": 7}
        door.data(second | {"s": door.second * 1000})
        wait_for(lambda: ledger(door.servers, "refused") == {"refused": 5})
    base = {"price": DEAR, "volume": 2.0, "timestamp": door.second * 10**9}
    assert sorted(map(json.dumps, (letter for _, letter in letters(door)))) == sorted(
        map(
            json.dumps,
            [
                {"symbol": "APP"} | base | {"timestamp": door.second * 10**9 - 1, "exchange": 4, "trade_id": "5"},
                {"symbol": "JSON"} | base | {"exchange": 4, "trade_id": "71", "trf_id": 201, "conditions": [14, 41]},
                {"symbol": "ODD"} | base | {"exchange": "4", "trade_id": "a-1", "conditions": [37]},
                {"symbol": "PLAIN"}
                | base
                | {"exchange": "XNAS", "trade_id": "p 1", "trf_id": "FINRA", "conditions": [14, 41]},
                {"ev": "A", "sym": "SEC", "c": 2.0, "o": 1.0, "h": DEAR, "l": 1.0, "vw": 1.5, "v": 7.0}
                | {"s": door.second * 10**9},
            ],
        )
    )
    rows(door.servers, WIDE)
    with door.worker():
        requeue(door, tickstock, 5)
        wait_for(lambda: ledger(door.servers, "applied") == {"applied": 5})
        door.data(door.trade("JSON", DEAR, i="71", trfi=201))  # they have their names again
        wait_for(lambda: ledger(door.servers, "repeated") == {"repeated": 1})
    dear, none = (DEAR,) * 4, (None,) * 4
    assert minutes(door.servers) == [
        ("APP", *dear, 2.0, 1), ("JSON", *dear, 2.0, 1), ("ODD", *none, 2.0, 1), ("PLAIN", *dear, 2.0, 1),
        ("SEC", 1.0, DEAR, 1.0, 2.0, 7.0, 1),
    ]  # fmt: skip
    assert letters(door) == []


def test_a_trade_of_the_future_counts_when_its_time_has_come(door, tickstock, wait_for):
    at = door.redis.time()[0] + 100
    with door.worker(max_future_s=10.0):
        door.data(door.trade("A", 10.0, t=at * 1000, c=[37]))
        door.data(door.trade("A", 10.0, t=at * 1000, c=[37]))  # of a trade that is refused, no other is the repeat
        wait_for(lambda: ledger(door.servers, "future") == {"future": 2})
    said = {"exchange": 4, "trade_id": "11", "conditions": [37]}
    letter = {"symbol": "A", "price": 10.0, "volume": 2.0, "timestamp": at * 10**9} | said
    assert letters(door) == [("future", letter)] * 2
    with door.worker():
        requeue(door, tickstock, 2)
        wait_for(lambda: ledger(door.servers, "applied", "repeated") == {"applied": 1, "repeated": 1})


def test_a_trade_that_came_too_late_keeps_its_name(door, wait_for):
    with door.worker():
        door.plain("A", 10.0, exchange=4, trade_id=7, conditions="37", timestamp=door.second - 3600)
        wait_for(lambda: ledger(door.servers, "too_late") == {"too_late": 1})
    assert letters(door) == [
        (
            "too_late",
            {"symbol": "A", "price": 10.0, "volume": 2.0, "timestamp": (door.second - 3600) * 10**9}
            | {"exchange": 4, "trade_id": "7", "conditions": [37]},
        )
    ]


@pytest.mark.parametrize(("exchange", "trade_id"), [(4, "7"), ("XNAS", "a 7")])
def test_an_undo_that_found_nothing_can_be_sent_again_and_finds_its_trade(
    door, exchange, trade_id, tickstock, wait_for
):
    name = {"symbol": "A", "exchange": exchange, "trade_id": trade_id}
    with door.worker():
        door.plain("A", 10.0, exchange=4, trade_id=1)
        door.plain(price=99.0, **name)
        wait_for(lambda: ledger(door.servers, "applied") == {"applied": 2})
        door.redis.xadd(FRONT_DOOR, {"type": "cancel", **name, "timestamp": door.second})
        door.redis.xadd(FRONT_DOOR, {"type": "cancel", **name, "timestamp": door.second})
        wait_for(lambda: letters(door))
    assert letters(door) == [
        ("cannot_undo", {"type": "cancel", "symbol": "A", "timestamp": door.second * 10**9, **name})
    ]
    with door.worker():
        door.plain(price=50.0, **name, timestamp=door.second + 61)  # more than a minute later: another trade
        wait_for(lambda: ledger(door.servers, "applied") == {"applied": 4})
        requeue(door, tickstock, 1)
        wait_for(lambda: minutes(door.servers) == [("A", 10.0, 10.0, 10.0, 10.0, 2.0, 1)])
    assert letters(door) == []


def test_rows_of_files_are_sent_again_whatever_their_columns(door, file, tickstock, wait_for, tmp_path):  # noqa: F811
    at_ns = door.second * 10**9
    rows(door.servers, NARROW)
    good = line("GOOD", 10, at_ns=at_ns)
    path = file(good, line("FILE", DEAR, trade_id="8a", conditions="37", facility="201", at_ns=at_ns))
    other = tmp_path / "other.csv"
    other.write_text(f"price,size,sip_timestamp,ticker\n{DEAR},3,{at_ns},OTHER\n10,3,{at_ns},FINE\n")
    ran = tickstock("replay", path, other, "--workers", "1", "--partitions", "2", servers=door.servers)
    assert ran.returncode == 0, ran.stderr
    base = {"price": DEAR, "timestamp": at_ns}
    assert sorted((letter for _, letter in letters(door)), key=lambda letter: letter["symbol"]) == [
        {"symbol": "FILE", **base, "volume": 2.0, "exchange": "4", "trade_id": "8a", "trf_id": 201, "conditions": [37]},
        {"symbol": "OTHER", **base, "volume": 3.0},
    ]
    rows(door.servers, WIDE)
    with door.worker():
        requeue(door, tickstock, 2)
        wait_for(lambda: ledger(door.servers, "applied") == {"applied": 4})
        wait_for(lambda: len(minutes(door.servers)) == 4)
    found = {symbol: rest for symbol, *rest in minutes(door.servers)}
    assert (found["FILE"], found["OTHER"]) == ([None] * 4 + [2.0, 1], [DEAR] * 4 + [3.0, 1])


@pytest.mark.parametrize("header", [None, "price,id,ticker,size,exchange,sip_timestamp,conditions"])
def test_a_line_that_no_program_of_then_could_read_is_sent_again_by_one_that_can(door, header, tickstock, wait_for):
    at_ns = door.second * 10**9
    text = f"10.5,9,LINE,3,4,{at_ns},37" if header else line("LINE", "10.5", size="3", conditions="37", at_ns=at_ns)
    detail = "day.csv:7: this is how the program of then found it" + (f" (columns: {header})" if header else "")
    rows(
        door.servers,
        "INSERT INTO dead_letter (partition, producer, reason, detail, original)"
        " VALUES (0, 'replay-x', 'symbol', %s, %s)",
        detail,
        text.encode(),
    )
    with door.worker():
        requeue(door, tickstock, 1)
        wait_for(lambda: ledger(door.servers, "applied") == {"applied": 1})
        wait_for(lambda: minutes(door.servers) == [("LINE", None, None, None, None, 3.0, 1)])


def test_what_a_channel_or_a_vendor_sent_is_sent_again(door, tickstock, wait_for):
    stop = threading.Event()
    message = {"event_type": "T", "ticker": "CHAN", "price": DEAR, "volume": 2, "timestamp": door.second}
    bodies = [json.dumps(message | {"exchange": 4, "trade_id": "11", "conditions": [37]}).encode()] * 2
    rows(door.servers, NARROW)
    with door.worker():
        wait_for(lambda: rows(door.servers, "SELECT 1 FROM stream"))
        client = redis.Redis.from_url(door.servers.redis_url)
        numbers = dict.fromkeys(range(2), 0)
        writer = StreamWriter(client, "channel-1", done=numbers, wait=stop.wait, max_lag=1000)
        framer = Framer(Identity("channel-1", "live", "live"), 2, now_ms=writer.now_ms)
        ticks = SameTrades().mark(parse_bodies(bodies))
        writer.write([*framer.add(ticks), *framer.flush()])
        wait_for(lambda: ledger(door.servers, "refused", "repeated") == {"refused": 1, "repeated": 1})
        client.close()
    ((reason, letter),) = letters(door)
    assert (reason, letter) == (
        "price",
        {"symbol": "CHAN", "price": DEAR, "volume": 2.0, "timestamp": door.second * 10**9}
        | {"exchange": 4, "trade_id": "11", "conditions": [37]},
    )
    rows(door.servers, WIDE)
    with door.worker():
        requeue(door, tickstock, 1)
        wait_for(lambda: minutes(door.servers) == [("CHAN", None, None, None, None, 2.0, 1)])
