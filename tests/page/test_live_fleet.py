"""The page of a fleet that works: live, through a reload, and through an API that is killed; 50 streams, one stuck."""

import selectors
import socket
import threading

import pytest
from ports import free_port

from ..fleet.fleet import fleet_on, wait_for
from ..fleet.test_api import answers
from .test_views import BARS_TABLE, open_market

SYMBOL = "AAPL"
STREAMS = 49


class Streams:
    """Clients of /events: all but one read. heard: bytes of each that reads."""

    def __init__(self, port):
        self._sockets = [self._open(port) for _ in range(STREAMS + 1)]
        self.heard = dict.fromkeys(self._sockets[1:], 0)  # the first one is stuck
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    @staticmethod
    def _open(port):
        one = socket.create_connection(("127.0.0.1", port), timeout=30)
        one.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        one.setblocking(False)
        return one

    def _read(self):
        with selectors.DefaultSelector() as selector:
            for one in self.heard:
                selector.register(one, selectors.EVENT_READ)
            while not self._ended.is_set():
                for key, _ in selector.select(0.1):
                    data = self._received(key.fileobj)
                    self.heard[key.fileobj] += data.count(b"event: bars")
                    if not data:
                        selector.unregister(key.fileobj)

    @staticmethod
    def _received(one):
        try:
            return one.recv(1 << 20)
        except ConnectionError:
            return b""

    def close(self):
        self._ended.set()
        self._thread.join()
        for one in self._sockets:
            one.close()


@pytest.fixture
def fleet(migrated_servers, tmp_path):
    with fleet_on(migrated_servers, tmp_path, partitions=2) as fleet:
        fleet.let_dojis_stand_anywhere()
        fleet.start_worker("worker")
        market = ("--symbols", "20", "--rate", "60", "--scenario", "lively", "--speed", "60x", "--publish")
        fleet.start("producer", "producer", "--source", "synthetic", *market)
        yield fleet


def start_api(fleet, port):
    fleet.start("api", "api", "--port", port)
    wait_for(lambda: answers(port), 60, fleet.logs)


def count(fleet):
    return fleet.rows("SELECT count(*) FROM ohlcv_1min WHERE symbol = %s", SYMBOL)[0][0]


def pattern_results(fleet):
    rows = fleet.rows("SELECT partition, number FROM outbox WHERE kind = 'patterns' ORDER BY partition, number")
    return [f"{partition}-{number}" for partition, number in rows]


def shown_results(page):
    found = page.locator("[data-result]").evaluate_all("rows => rows.map(row => row.dataset.result)")
    return set(found)


def is_after(one, other):
    """Tell whether a result of the same partition is not older than another."""
    (partition, number), (other_partition, other_number) = one.split("-"), other.split("-")
    return partition == other_partition and int(number) >= int(other_number)


def test_a_live_page_leaves_nothing_out(fleet, visit):
    port = free_port()
    start_api(fleet, port)
    streams = Streams(port)
    url = f"http://127.0.0.1:{port}"
    market, patterns = visit(url), visit(url)
    wait_for(lambda: count(fleet) >= 2, 120, fleet.logs)
    page = open_market(market, f"#market?symbol={SYMBOL}")
    listed = patterns.open("#patterns")
    listed.locator("#stream[data-is=live]").wait_for()
    rows = len(market.rows(BARS_TABLE))
    wait_for(lambda: len(market.rows(BARS_TABLE)) >= rows + 3, 120, fleet.logs)  # they come by themselves
    page.reload()
    page.get_by_text("Bars as a table").click()
    page.locator("[data-time]").first.wait_for()
    listed.locator("[data-result]").first.wait_for(timeout=120_000)
    wait_for(lambda: min(streams.heard.values()) > 0, 60, fleet.logs)
    streams.close()

    fleet.kill("api")
    before = count(fleet)
    page.locator("#stream[data-is=reconnecting]").wait_for()
    wait_for(lambda: count(fleet) >= before + 5, 120, fleet.logs)
    start_api(fleet, port)
    page.locator("#stream[data-is=live]").wait_for()
    after = count(fleet)
    wait_for(lambda: count(fleet) >= after + 2, 120, fleet.logs)
    fleet.stop("producer")
    fleet.stop("worker")
    stored = fleet.rows(
        'SELECT extract(epoch FROM "timestamp")::bigint::text FROM ohlcv_1min WHERE symbol = %s'
        ' ORDER BY "timestamp" DESC LIMIT 50',
        SYMBOL,
    )
    expected = [time for (time,) in stored]
    shown = page.locator("[data-time]")
    wait_for(lambda: shown.evaluate_all("rows => rows.map(row => row.dataset.time)") == expected, 60, fleet.logs)
    # By result ids: every result with patterns since the first one that the list heard of its partition.
    first = {}
    for one in sorted(shown_results(listed), key=lambda text: int(text.split("-")[1])):
        first.setdefault(one.split("-")[0], one)
    wanted = {one for one in pattern_results(fleet) for begin in first.values() if is_after(one, begin)}
    wait_for(lambda: shown_results(listed) >= wanted, 60, fleet.logs)
    assert market.wrong == [] or all("ERR_" in said for said in market.wrong)  # refused connections, in between
    market.picture("market-live")
    patterns.picture("patterns-live")
