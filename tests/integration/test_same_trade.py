"""A trade has one identity and one meaning, whichever way it comes."""

import json
import threading
from contextlib import closing, contextmanager

import psycopg
import pytest
import redis
from tickstockpl.contracts.names import FRONT_DOOR
from tickstockpl.contracts.partition import Position, number_of
from tickstockpl.contracts.spellings.tick_json import parse_entries
from tickstockpl.contracts.ticks import REPEATED
from tickstockpl.db.redis import connect
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.workers.door.door_repeats import DoorRepeats
from tickstockpl.workers.partition.tick_check import Limits
from tickstockpl.workers.worker_options import WorkerOptions

HEADER = "ticker,conditions,correction,exchange,id,participant_timestamp,price,sequence_number,sip_timestamp,size,tape,trf_id,trf_timestamp"  # fmt: skip  # noqa: E501
NOON_NS = 1_748_872_800_000_000_000


def line(symbol, price, *, trade_id="11", conditions="", exchange="4", facility="0", at_ns=NOON_NS, size="2"):
    return f'{symbol},"{conditions}",0,{exchange},{trade_id},0,{price},1,{at_ns},{size},1,{facility},0'


@pytest.fixture
def file(tmp_path):
    def write(*lines, name="trades.csv"):
        path = tmp_path / name
        path.write_text("\n".join([HEADER, *lines]) + "\n")
        return path

    return write


def rows(servers, statement, *values):
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def minutes(servers):
    """Return (symbol, open, high, low, close, volume, n) of each minute; None for prices that no trade has set."""
    return [
        (symbol, *(None if price != price else price for price in prices), volume, n)  # noqa: PLR0124
        for symbol, *prices, volume, n in rows(
            servers,
            "SELECT symbol, open::float8, CASE WHEN open = 'NaN' THEN 'NaN' ELSE high END,"
            " CASE WHEN open = 'NaN' THEN 'NaN' ELSE low END, close::float8, volume_micro / 1e6, trades"
            " FROM recent_bar WHERE trades > 0 ORDER BY symbol, minute",
        )
    ]


def ledger(servers, *names):
    found = rows(servers, f"SELECT {', '.join(f'coalesce(sum({name}), 0)::int' for name in names)} FROM ledger")
    return dict(zip(names, found[0], strict=True))


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", [None, "sip", "all"])
def test_the_same_trade_twice_in_a_file_counts_once(file, rules, tickstock, migrated_servers):
    odd = line("DUPF", "281.1", conditions="14,37,41")
    regular = line("DUPR", "281.1", conditions="14,41")
    path = file(odd, odd, regular, regular)
    said = ["--trade-rules", rules] if rules else []
    ran = tickstock("replay", path, "--workers", "1", *said, servers=migrated_servers)
    assert ran.returncode == 0, ran.stderr
    priced = (281.1,) * 4
    assert minutes(migrated_servers) == [
        ("DUPF", *(priced if rules == "all" else (None,) * 4), 2.0, 1),
        ("DUPR", *priced, 2.0, 1),
    ]
    assert ledger(migrated_servers, "ticks_in", "applied", "repeated") == {"ticks_in": 4, "applied": 2, "repeated": 2}
    assert "repeated" in ran.stdout
    audit = tickstock("audit", "--file", path, *said, servers=migrated_servers)
    assert (audit.returncode, "ledger balances" in audit.stdout) == (0, True), audit.stdout


def test_what_differs_in_a_part_of_its_name_is_another_trade(file, tickstock, migrated_servers):
    path = file(
        line("A", 1), line("B", 1), line("A", 1, exchange="11"), line("A", 1, trade_id="12"),
        line("A", 1, facility="201"), line("A", 1, facility="202"), line("A", 1, trade_id="0"),
        line("A", 1, trade_id="0"), line("A", 1, trade_id=""), line("A", 1, trade_id=""),
        line("A", 1, trade_id="7a-11"), line("A", 1, trade_id="7a-12"),
        line("A", 1, at_ns=NOON_NS + 61 * 10**9), line("A", 1, at_ns=NOON_NS + 86_400 * 10**9),
        line("A", 1, facility="202"), line("A", 1, trade_id="7a-12"),
    )  # fmt: skip
    assert tickstock("replay", path, "--workers", "1", servers=migrated_servers).returncode == 0
    assert [(symbol, n) for symbol, *_, n in minutes(migrated_servers)] == [("A", 11), ("A", 1), ("A", 1), ("B", 1)]
    assert ledger(migrated_servers, "repeated") == {"repeated": 2}


def test_the_same_file_under_other_rules_is_another_replay_and_under_the_default_the_same(
    file, tickstock, migrated_servers
):
    path = file(line("A", 100), line("A", 150, trade_id="12", conditions="37"))
    for rules, high in (((), 100.0), (("--trade-rules", "all"), 150.0)):
        assert tickstock("replay", path, "--workers", "1", *rules, servers=migrated_servers).returncode == 0
        ((_, _, found, *_),) = minutes(migrated_servers)
        assert found == high
    again = tickstock("replay", path, "--workers", "1", "--trade-rules", "sip", servers=migrated_servers)
    assert "replayed already" in again.stderr


# -- the front door ------------------------------------------------------------------------------------------------


class Door:
    """The front door of a fleet of one worker at a time; a minute that is over is what its ticks are of."""

    def __init__(self, servers):
        self.servers = servers
        self.redis = redis.Redis.from_url(servers.redis_url, decode_responses=True)
        self.second = (self.redis.time()[0] - 180) // 60 * 60

    def plain(self, symbol, price, **fields):
        """Add a plain entry; it is of 2 shares."""
        said = {"symbol": symbol, "price": price, "volume": 2, "timestamp": self.second} | fields
        self.redis.xadd(FRONT_DOOR, said)

    def data(self, *messages):
        self.redis.xadd(FRONT_DOOR, {"data": json.dumps(messages)})

    def trade(self, symbol, price, **others):
        return {"ev": "T", "sym": symbol, "p": price, "s": 2, "t": self.second * 1000, "x": 4, "i": "11"} | others

    @contextmanager
    def worker(self, **options):
        stop, died = threading.Event(), []

        def run():
            try:
                made = make_worker(
                    Place(self.servers, False, 5.0),
                    WorkerOptions("test-worker", commit_ms=50, gather_ms=10, **options),
                    partitions=2,
                    stop=stop,
                )
                with made._client, closing(made._database):
                    made.run()
            except BaseException as e:  # noqa: BLE001  # the test raises it
                died.append(e)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)
            assert not died, died


@pytest.fixture
def door(migrated_servers):
    door = Door(migrated_servers)
    with door.redis:
        yield door


def test_the_same_trade_at_the_front_door_counts_once_however_it_is_spelled(door, wait_for, tickstock):
    with door.worker():
        door.data(door.trade("JSON", 10.0), door.trade("JSON", 10.0))
        for _ in range(20):  # as many as are read as columns
            door.plain("PLAIN", 10.0, exchange=4, trade_id=11)
        wait_for(lambda: len(minutes(door.servers)) == 2)
        door.plain("JSON", 10.0, exchange="4", trade_id="11")
        door.plain("PLAIN", 10.0, exchange=4, trade_id="text")
        door.plain("PLAIN", 10.0, exchange=4, trade_id="text", trf_id="FINRA")
        door.data(door.trade("PLAIN", 10.0, trfi=201))
        door.plain("PLAIN", 10.0)
        door.plain("PLAIN", 10.0)
        wait_for(lambda: ledger(door.servers, "ticks_in") == {"ticks_in": 28})
    assert [(symbol, n) for symbol, *_, n in minutes(door.servers)] == [("JSON", 1), ("PLAIN", 6)]
    assert ledger(door.servers, "applied", "repeated") == {"applied": 7, "repeated": 21}
    assert json.loads(tickstock("status", "--json", servers=door.servers).stdout)["repeated_ticks"] == 21


def test_another_worker_knows_the_trades_of_the_last_door(door, wait_for):
    with door.worker():
        door.plain("A", 10.0, exchange=4, trade_id=11)
        door.plain("A", 11.0, exchange=4, trade_id="x")
        wait_for(lambda: ledger(door.servers, "applied") == {"applied": 2})
    door.plain("A", 10.0, exchange=4, trade_id=11)
    door.plain("A", 11.0, exchange=4, trade_id="x")
    door.plain("A", 12.0, exchange=4, trade_id=12)
    with door.worker():
        wait_for(lambda: ledger(door.servers, "ticks_in") == {"ticks_in": 5})
    assert minutes(door.servers) == [("A", 10.0, 12.0, 10.0, 12.0, 6.0, 3)]


def test_entries_that_nobody_took_yet_are_marked_among_themselves(door, wait_for):
    door.plain("A", 10.0, exchange=4, trade_id=11)
    door.plain("A", 10.0, exchange=4, trade_id=11)
    with door.worker():
        wait_for(lambda: ledger(door.servers, "ticks_in") == {"ticks_in": 2})
    assert minutes(door.servers) == [("A", 10.0, 10.0, 10.0, 10.0, 2.0, 1)]


def test_a_door_whose_stream_is_gone_knows_what_no_partition_but_one_has_applied(door, wait_for):
    with door.worker():
        door.plain("A", 10.0, exchange=4, trade_id=11)
        wait_for(lambda: ledger(door.servers, "applied") == {"applied": 1})
    rows(door.servers, "DELETE FROM ledger WHERE applied = 0")  # as if the other had not heard yet how far the door is
    door.redis.delete(FRONT_DOOR)
    door.plain("A", 10.0, exchange=4, trade_id=11)
    with door.worker():
        wait_for(lambda: ledger(door.servers, "ticks_in") == {"ticks_in": 2})
    assert ledger(door.servers, "applied", "repeated") == {"applied": 1, "repeated": 1}


def test_a_dead_letter_that_is_framed_again_is_no_repeat_of_itself(door):
    client = connect(door.servers.redis_url)
    repeats = DoorRepeats(client, 2, Limits())
    said = f"symbol A price 10 volume 2 timestamp {door.second} exchange 4 trade_id 11 requeued 1".encode().split()
    entries = [(number_of(Position(door.second * 1000, seq)), said) for seq in (1, 2)]
    for _ in range(2):  # Redis had no room for the frames of the first time
        repeats.restart(0)
        while not repeats.is_ready:
            repeats.read_on()
        marked = repeats.mark(parse_entries(entries), entries)
        assert (marked.optional["flags"] == REPEATED).tolist() == [False, True]
    client.close()


@pytest.mark.parametrize("rules", ["sip", "all"])
def test_conditions_mean_the_same_in_each_spelling(door, rules, wait_for):
    with door.worker(trade_rules=rules):
        for conditions, price in (([], 100.0), ([37], 150.0), ([2], 90.0), ([14, 41], 101.0)):
            door.data(door.trade("VENDOR", price, i=str(price), c=conditions))
            said = {"symbol": "APP", "price": price, "volume": 2, "timestamp": door.second, "conditions": conditions}
            door.redis.xadd(FRONT_DOOR, {"data": json.dumps(said)})
            door.plain("PLAIN", price, conditions=",".join(map(str, conditions)))
        wait_for(lambda: ledger(door.servers, "ticks_in") == {"ticks_in": 12})
    prices = (100.0, 101.0, 100.0, 101.0) if rules == "sip" else (100.0, 150.0, 90.0, 101.0)
    assert minutes(door.servers) == [(symbol, *prices, 8.0, 4) for symbol in ("APP", "PLAIN", "VENDOR")]


# -- cancels that come first ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("killed", [False, True])
def test_a_cancel_and_a_correction_may_come_before_their_trades(door, killed, wait_for):
    with door.worker():
        door.plain("A", 10.0, exchange=4, trade_id=1)
        door.redis.xadd(FRONT_DOOR, {"type": "cancel", "symbol": "A", "exchange": 4, "trade_id": 2})
        door.redis.xadd(
            FRONT_DOOR,
            {"type": "correct", "symbol": "A", "exchange": 4, "trade_id": "x-3", "price": 12, "volume": 5},
        )
        wait_for(lambda: ledger(door.servers, "applied") == {"applied": 3})
        wait_for(lambda: len(minutes(door.servers)) == 1)
        if not killed:
            later(door, wait_for)
    if killed:
        with door.worker():
            later(door, wait_for)
    assert minutes(door.servers) == [("A", 10.0, 12.0, 10.0, 10.0, 9.0, 3)]
    assert rows(door.servers, "SELECT reason FROM dead_letter") == []


def later(door, wait_for):
    door.plain("A", 99.0, exchange=4, trade_id=2)
    door.plain("A", 1.0, exchange=4, trade_id="x-3")
    door.plain("A", 10.0, exchange=4, trade_id=4)
    door.plain("A", 99.0, exchange=4, trade_id=2)  # the same again: it stays cancelled
    wait_for(lambda: ledger(door.servers, "ticks_in") == {"ticks_in": 7})


def test_a_cancel_takes_a_trade_that_came_twice_away_whole(door, wait_for):
    with door.worker():
        door.plain("A", 10.0, exchange=4, trade_id=1)
        for _ in range(2):
            door.plain("A", 99.0, exchange=4, trade_id=2)
        wait_for(lambda: minutes(door.servers) == [("A", 10.0, 99.0, 10.0, 99.0, 4.0, 2)])
        door.redis.xadd(FRONT_DOOR, {"type": "cancel", "symbol": "A", "exchange": 4, "trade_id": 2})
        wait_for(lambda: minutes(door.servers) == [("A", 10.0, 10.0, 10.0, 10.0, 2.0, 1)])


def test_a_cancel_that_names_a_facility_takes_its_trade_and_no_other(door, wait_for):
    with door.worker():
        door.plain("A", 10.0, exchange=4, trade_id=1, trf_id=201)
        door.plain("A", 20.0, exchange=4, trade_id=1, trf_id=202)
        wait_for(lambda: ledger(door.servers, "applied") == {"applied": 2})
        door.redis.xadd(FRONT_DOOR, {"type": "cancel", "symbol": "A", "exchange": 4, "trade_id": 1, "trf_id": 201})
        wait_for(lambda: minutes(door.servers) == [("A", 20.0, 20.0, 20.0, 20.0, 2.0, 1)])
