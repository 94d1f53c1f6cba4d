"""Whole processes looked at through their metrics ports, held against what the ledger and the status say."""

import json
import math
import socket
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest
from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.contracts.messages.channel_names import PATTERNS
from tickstockpl.contracts.names import results_key, stream_key
from tickstockpl.contracts.settings import Servers
from tickstockpl.contracts.ticks import Refused, Ticks
from tickstockpl.db.metrics import FLEET
from tickstockpl.db.queries import query
from tickstockpl.db.redis import connect
from tickstockpl.producer.framer import Framer
from tickstockpl.producer.sending.stream_writer import StreamWriter

from ..fleet.fleet import fleet_on
from ..fleet.fleet import wait_for as wait_for_condition
from ..fleet.proxy import proxy_to
from ..fleet.scrape import Port

PARTITIONS = 2
SYMBOLS = ("AAPL", "MSFT", "IBM", "SPY")  # two of each partition
SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS


@pytest.fixture
def fleet(migrated_servers, tmp_path):
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        yield fleet


@pytest.fixture
def wait_for(fleet):
    """Give a function that waits for a condition; in vain, it says what the processes did."""
    return lambda condition: wait_for_condition(condition, 30, fleet.logs)


@contextmanager
def ways_to(servers):
    """Give the servers behind proxies, and the proxy of each."""
    urls = urlsplit(servers.redis_url), urlsplit(servers.database_url)
    with proxy_to(urls[0].hostname, urls[0].port) as of_redis, proxy_to(urls[1].hostname, urls[1].port) as of_postgres:
        behind = [
            url._replace(netloc=f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}").geturl()
            for url, proxy in zip(urls, (of_redis, of_postgres), strict=True)
        ]
        yield Servers(*behind), {"redis": of_redis, "postgresql": of_postgres}


class Producer:
    """A live feed by hand."""

    def __init__(self, fleet, name="hand-1", feed="live"):
        self._client = connect(fleet.servers.redis_url)
        done = dict.fromkeys(range(PARTITIONS), 0)
        self.writer = StreamWriter(self._client, name, done=done, wait=lambda _: False, max_lag=1_000_000)
        self._framer = Framer(Identity(name, feed, "live"), PARTITIONS, now_ms=self.writer.now_ms)
        self.now_ns = self.writer.now_ms() * 1_000_000

    def frames(self, *rows, refused=()):
        """Make the frames of rows (ns before now, size)."""
        ago_ns, sizes = zip(*rows, strict=True)
        count = len(rows)
        index = np.arange(count, dtype="<u2") % len(SYMBOLS)
        ts = self.now_ns - np.array(ago_ns, "<i8")
        ticks = Ticks(SYMBOLS, index, ts, np.full(count, 10.0), np.array(sizes, "<f8"), refused=list(refused))
        return [*self._framer.add(ticks), *self._framer.flush()]

    def send(self, *rows, **how):
        frames = self.frames(*rows, **how)
        self.writer.write(frames)
        return frames


def trades(count, ago_ns=0):
    return [(ago_ns, 100.0)] * count


# -- a worker ------------------------------------------------------------------------------------------------------


@pytest.fixture
def worker(fleet, wait_for):
    """Give the port of a worker that owns every partition."""
    port = Port()
    fleet.start_worker("w1", "--no-detect", *port.options)
    wait_for(lambda: port.scrape().value("tickstock_partitions_owned") == PARTITIONS and port.is_ready())
    return port


def test_a_workers_counters_are_the_ledger(fleet, worker, wait_for):
    producer = Producer(fleet)
    frames = producer.send(
        *trades(10, ago_ns=5 * MINUTE_NS),  # of minutes that are over: their bars close at once
        *trades(4, ago_ns=3 * MINUTE_NS),
        *[(0, 0.0)] * 2,  # quotes
        *trades(3, ago_ns=20 * MINUTE_NS),
        *trades(1, ago_ns=-20 * MINUTE_NS),
        refused=[Refused("price", "no number", b"x"), Refused("size", "negative", b"y")],
    )
    for frame in frames:  # once more, as after a reply that got lost
        fleet.redis.xadd(stream_key(frame.partition), {"f": frame.body})
    wait_for(lambda: worker.scrape().total("tickstock_ticks_duplicate_total") == 22)
    seen = worker.scrape()
    assert seen.total("tickstock_ticks_in_total") == 22
    assert seen.total("tickstock_ticks_applied_total") == 14
    assert seen.total("tickstock_ticks_late_total") == 3
    assert seen.of("tickstock_ticks_rejected_total") == {"refused": 2, "future": 1}
    assert seen.value("tickstock_ticks_without_trade_total") == 2
    assert seen.value("tickstock_ticks_lost_total") == 0
    assert seen.value("tickstock_ticks_superseded_total") == 0
    reasons = {reason: count for reason, count in seen.of("tickstock_dead_letters_total").items() if count}
    assert reasons == {"price": 1, "size": 1, "future": 1, "too_late": 3} == fleet.status()["dead_letters"]

    ledger = fleet.rows("SELECT partition::text, ticks_in, applied, too_late FROM ledger")
    for name, column in (("in", 1), ("applied", 2), ("late", 3)):
        assert seen.of(f"tickstock_ticks_{name}_total") == {row[0]: row[column] for row in ledger}
    bars = fleet.rows("SELECT bars, revisions, commits FROM worker")[0]
    assert seen.total("tickstock_bars_closed_total") == bars[0] == 8
    assert seen.total("tickstock_bars_revised_total") == bars[1] == 0
    assert seen.value("tickstock_commit_duration_seconds_count") == bars[2]
    assert seen.value("tickstock_commit_ticks_sum") == 22
    assert seen.value("tickstock_tick_to_commit_seconds_count") >= 1
    assert seen.value("tickstock_takeovers_total") == PARTITIONS
    assert seen.total("tickstock_build_info") == 1
    assert {"process_resident_memory_bytes", "python_info"} <= seen.names()


def test_a_commit_whose_answer_is_lost_counts_once(fleet, wait_for):
    port = Port()
    urls = urlsplit(fleet.servers.database_url)
    with proxy_to(urls.hostname, urls.port, {b"COMMIT": set(range(5, 21, 5))}) as proxy:
        netloc = f"{urls.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"
        way = Servers(fleet.servers.redis_url, urls._replace(netloc=netloc).geturl())
        fleet.start_worker("w1", "--no-detect", *port.options, servers=way)
        producer = Producer(fleet)
        for sent in (7, 14, 21):
            producer.send(*trades(7))
            wait_for(lambda sent=sent: sum(row.ticks_in for row in fleet.ledger()) == sent)
        wait_for(lambda: port.scrape().total("tickstock_ticks_in_total") == 21)
        assert port.scrape().total("tickstock_ticks_applied_total") == 21
        assert 1 < port.scrape().value("tickstock_reconnects_total", server="postgresql") <= proxy.lost


def test_a_worker_without_a_server_is_not_ready_and_says_which(fleet, wait_for):
    port = Port()
    with ways_to(fleet.servers) as (way, proxies):
        fleet.start_worker("w1", "--no-detect", *port.options, servers=way)
        for server in ("redis", "postgresql"):
            wait_for(port.is_ready)
            proxies[server].flows.clear()
            proxies[server].cut()
            wait_for(lambda: port.readiness()[0] == 503)
            assert away(port) == [server]
            assert port.scrape().value("tickstock_server_up", server=server) == 0
            assert port.is_well()
            proxies[server].flows.set()
            wait_for(port.is_ready)
            assert port.scrape().value("tickstock_server_up", server=server) == 1
            assert port.scrape().value("tickstock_reconnects_total", server=server) == 1


def away(port):
    said = port.readiness()[1]
    return [server for server in ("redis", "postgresql") if said[server] == "away"]


def test_a_port_that_is_taken_is_a_clear_error(migrated_servers, tickstock):
    port = Port()
    with socket.create_server(("127.0.0.1", port.number)):
        ended = tickstock("worker", *port.options, servers=migrated_servers)
    assert ended.returncode == 1  # a keeper tries again
    assert ended.stderr.count("\n") == 1
    assert f"127.0.0.1 port {port.number}: Address already in use" in ended.stderr


# -- the bridges -----------------------------------------------------------------------------------------------------


@pytest.fixture
def bridge(fleet, wait_for):
    """Give the port of the bridge that speaks."""
    port = Port()
    fleet.start("b1", "bridge", "--name", "b1", *port.options)
    wait_for(lambda: port.scrape().value("tickstock_workers") is not None)
    return port


def fleet_names():
    return {metric._name for metric in FLEET}


def test_the_bridge_shows_what_the_status_says(fleet, bridge, wait_for):
    producer = Producer(fleet)
    producer.send(*trades(20))
    wait_for(lambda: bridge.scrape().total("tickstock_lag_ticks") == 20)
    seen, status = bridge.scrape(), fleet.status()
    for partition in status["partitions"]:
        number = partition["partition"]
        assert seen.value("tickstock_lag_ticks", partition=str(number)) == partition["lag_ticks"]
        assert 0 < seen.value("tickstock_lag_seconds", partition=str(number)) <= partition["lag_s"]
        assert seen.value("tickstock_stream_entries", partition=str(number)) == fleet.redis.xlen(stream_key(number))
    assert seen.value("tickstock_partitions") == PARTITIONS
    assert seen.value("tickstock_partitions_without_owner") == PARTITIONS
    assert seen.value("tickstock_workers") == 0
    assert seen.value("tickstock_bridge_active") == 1
    assert seen.value("tickstock_redis_memory_bytes") > 0
    assert seen.value("tickstock_redis_max_memory_bytes") == (status["redis"]["max_memory_bytes"] or 0)
    assert seen.value("tickstock_open_gaps") == seen.value("tickstock_front_door_entries") == 0
    assert seen.value("tickstock_market_open") in (0, 1)
    assert seen.value("tickstock_channel_receivers", channel="tickstock:streaming:health") == 0
    assert seen.value("tickstock_messages_published_total", channel="tickstock:streaming:health") >= 1

    fleet.start_worker("w1", "--no-detect")
    wait_for(lambda: bridge.scrape().total("tickstock_lag_ticks") == 0)
    seen = bridge.scrape()
    assert seen.of("tickstock_lag_seconds") == {"0": 0, "1": 0}
    assert (seen.value("tickstock_workers"), seen.value("tickstock_partitions_without_owner")) == (1, 0)


def test_a_pattern_is_measured_from_its_bars_close_to_its_publication(fleet, bridge, wait_for):
    wait_for(lambda: not math.isnan(bridge.scrape().value("tickstock_workers")))
    seconds, _ = fleet.redis.time()
    minute = seconds // 60 - 2
    tell_pattern(fleet, 1, minute, detected_at=seconds - 30.0)
    tell_pattern(fleet, 2, 23_019_210, detected_at=float(seconds))  # of a replay: 2013
    wait_for(lambda: bridge.scrape().value("tickstock_messages_published_total", channel=PATTERNS) == 2)
    seen = bridge.scrape()
    assert seen.value("tickstock_bar_close_to_publish_seconds_count") == 1
    assert seen.value("tickstock_bar_close_to_publish_seconds_sum") >= 60
    wait_for(lambda: bridge.scrape().value("tickstock_channel_receivers", channel=PATTERNS) == 0)


def tell_pattern(fleet, number, minute, *, detected_at):
    """Commit a pattern and tell it, as a worker does."""
    bar = {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 100.0}
    found = {"symbol": "AAPL", "pattern": "Doji", "timeframe": "1min", "confidence": 0.9, "direction": 0}
    body = json.dumps([bar | found | {"minute": minute, "detected_at": detected_at}]).encode()
    fleet.rows("INSERT INTO outbox (partition, number, kind, body) VALUES (0, %s, 'patterns', %s)", number, body)
    fleet.rows("UPDATE checkpoint SET outbox_number = %s WHERE partition = 0", number)
    fleet.redis.xadd(results_key(0), {"kind": "patterns", "body": body}, id=f"{number}-0")


def test_a_lag_that_nobody_knows_is_not_a_number(fleet, bridge, wait_for):
    Producer(fleet).send(*trades(20))
    wait_for(lambda: bridge.scrape().total("tickstock_lag_ticks") == 20)
    fleet.redis.delete(*(stream_key(partition) for partition in range(PARTITIONS)))
    wait_for(lambda: all(map(math.isnan, bridge.scrape().of("tickstock_lag_seconds").values())))
    assert bridge.scrape().total("tickstock_lag_ticks") == 20


def test_without_a_server_the_bridge_shows_nothing_old(fleet, wait_for):
    port = Port()
    with ways_to(fleet.servers) as (way, proxies):
        fleet.start("b1", "bridge", "--name", "b1", *port.options, servers=way)
        for server in ("redis", "postgresql"):
            wait_for(lambda: port.scrape().of("tickstock_lag_ticks") == {"0": 0, "1": 0})
            proxies[server].flows.clear()
            proxies[server].cut()
            wait_for(lambda: port.readiness()[0] == 503)
            seen = port.scrape()
            for name in ("tickstock_lag_ticks", "tickstock_lag_seconds"):
                assert [str(value) for value in seen.of(name).values()] == ["nan"] * PARTITIONS
            assert math.isnan(seen.value("tickstock_workers"))
            assert away(port) == [server]
            assert port.is_well()
            proxies[server].flows.set()
            wait_for(port.is_ready)


def test_a_bridge_that_stands_by_is_ready_and_shows_nothing_of_the_fleet(fleet, bridge, wait_for):
    standby = Port()
    fleet.start("b2", "bridge", "--name", "b2", *standby.options)
    wait_for(standby.is_ready)
    assert standby.is_well()
    assert standby.scrape().value("tickstock_bridge_active") == 0
    assert not standby.scrape().names() & fleet_names()
    assert fleet_names() <= bridge.scrape().names()
    fleet.stop("b1")
    wait_for(lambda: standby.scrape().value("tickstock_bridge_active") == 1)
    wait_for(lambda: fleet_names() <= standby.scrape().names())


# -- daily runs ------------------------------------------------------------------------------------------------------


def test_a_run_is_counted_by_who_does_it_and_shown_by_the_bridge(fleet, bridge, wait_for):
    port = Port()
    fleet.rows("INSERT INTO symbols (symbol) VALUES ('A')")
    fleet.rows(
        "INSERT INTO ohlcv_daily (symbol, date, open, high, low, close, volume)"
        " VALUES ('A', '2025-06-02', 10, 11, 9, 10, 100)"
    )
    fleet.rows(
        "INSERT INTO run (run_id, run_date, trigger, universe, phases, parameters)"
        " VALUES (gen_random_uuid(), '2025-06-02', 'manual', 'all', '{import}', %s::jsonb)",
        json.dumps({"symbols": ["A", "B"], "batch": 1}),
    )
    wait_for(lambda: bridge.scrape().value("tickstock_run_status", status="queued") == 1)
    seen = bridge.scrape()
    assert (seen.value("tickstock_jobs_processes"), seen.value("tickstock_jobs_waiting_steps")) == (0, 0)
    assert seen.value("tickstock_run_still_seconds") > 0
    fleet.start("j1", "jobs", "--name", "j1", *port.options)
    wait_for(lambda: bridge.scrape().value("tickstock_run_status", status="completed") == 1)
    seen = bridge.scrape()
    assert (seen.value("tickstock_jobs_processes"), seen.value("tickstock_run_failed_symbols")) == (1, 1)
    assert (seen.value("tickstock_run_still_seconds"), seen.value("tickstock_jobs_waiting_steps")) == (0, 0)
    assert seen.value("tickstock_run_duration_seconds") > 0
    wait_for(lambda: bridge.scrape().value("tickstock_run_untold_messages") == 0)
    own = port.scrape()
    steps = [own.value("tickstock_run_steps_total", phase="import", outcome=o) for o in ("done", "failed", "redone")]
    assert steps == [2, 0, 0]
    assert own.value("tickstock_run_step_duration_seconds_count", phase="import") == 2
    assert own.value("tickstock_jobs_coordinator") == 1
    status = fleet.status()
    assert status["jobs"]["run"]["status"] == "completed"
    assert [finding["code"] for finding in status["findings"] if finding["part"] == "jobs"] == ["RUN_INCOMPLETE"]


def test_a_process_without_work_counts_after_its_connections_were_ended(fleet, wait_for):
    fleet.start("j1", "jobs", "--name", "j1")
    connected = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tickstock-jobs-coordinator j1'"
    wait_for(lambda: fleet.rows(connected))
    (before,) = fleet.rows(connected)
    ends = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
    fleet.rows(f"{ends} WHERE starts_with(application_name, 'tickstock-jobs')")
    wait_for(lambda: fleet.rows(connected) not in ([], [before]))
    assert fleet.rows(query("monitor_jobs"))[0][0] == 1


def test_jobs_without_a_server_are_not_ready_and_say_which(fleet, wait_for):
    port = Port()
    with ways_to(fleet.servers) as (way, proxies):
        fleet.start("j1", "jobs", "--name", "j1", *port.options, servers=way)
        for server in ("redis", "postgresql"):
            wait_for(port.is_ready)
            proxies[server].flows.clear()
            proxies[server].cut()
            wait_for(lambda: port.readiness()[0] == 503)
            assert away(port) == [server]
            assert port.is_well()
            proxies[server].flows.set()
            wait_for(port.is_ready)


# -- a producer ------------------------------------------------------------------------------------------------------


def test_a_producer_shows_what_it_sent_each_tick_once(fleet, wait_for):
    port = Port()
    fleet.start_worker("w1", "--no-detect")
    fleet.start("p1", "producer", "--source", "synthetic", "--rate", "200", *port.options)
    wait_for(lambda: (port.scrape().value("tickstock_producer_ticks_total", feed="live") or 0) > 100)
    wait_for(port.is_ready)
    seen = port.scrape()
    assert seen.value("tickstock_producer_frames_total", feed="live") > 0
    assert seen.value("tickstock_producer_up", feed="live") == 1
    assert seen.value("tickstock_producer_lag_ticks", feed="live") >= 0
    assert seen.value("tickstock_spool_bytes") == 0
    assert seen.total("tickstock_gaps_total") == 0
    fleet.stop("p1", 30)


def test_what_is_sent_again_counts_once(fleet):
    producer = Producer(fleet)
    producer.send(*trades(8))
    field = "sent:hand-1"
    for partition in range(PARTITIONS):  # Redis forgets: with the next frame everything goes out again
        fleet.redis.hdel(f"{stream_key(partition)}:flow", field)
    producer.send(*trades(8))
    assert producer.writer.sender.resent > 0
    assert (producer.writer.sender.sent_ticks, producer.writer.sender.sent_frames) == (16, 4)
