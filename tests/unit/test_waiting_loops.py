"""The loops of producers while their server is away: nobody listens at their address, and the world's clock is ours."""

from contextlib import closing
from itertools import pairwise

import pytest
from structlog.testing import capture_logs
from tickstockpl.db.redis import connect
from tickstockpl.producer.channel import _Listener
from tickstockpl.producer.framer import Numbered
from tickstockpl.producer.massive.reader import MassiveOptions, MassiveReader
from tickstockpl.producer.sending.stream_writer import StreamWriter
from tickstockpl.producer.spool.spool import Spool
from tickstockpl.producer.spool.spooled_writer import SpooledWriter

from ..fake_world import FakeWorld

NOBODY = "127.0.0.1:1"
FRAME = Numbered(0, 0, 1, b"frame")


@pytest.fixture
def fake():
    return FakeWorld()


def until(fake, waits, end):
    """Call `end` at the last of so many waits."""
    fake.on_wait = lambda: end() if len(fake.waits) == waits else None


def warned(lines):
    return [(line["event"], line.get("server")) for line in lines if line["log_level"] != "debug"]


def test_a_writer_pauses_longer_each_time_and_names_redis_once(fake):
    pauses = []

    def wait(seconds):
        pauses.append(seconds)
        return len(pauses) == 8

    url = f"redis://{NOBODY}/0"
    with closing(connect(url)) as client, capture_logs() as lines:
        writer = StreamWriter(client, "p", done={0: 0}, wait=wait, max_lag=10, world=fake.world)
        writer.sender.add(FRAME)
        writer._send_all()

    assert pauses == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0])
    assert warned(lines) == [("server away", "redis")]


def test_a_writer_with_a_spool_tries_again_when_its_pause_is_over(fake, tmp_path):
    url = f"redis://{NOBODY}/0"
    with (
        closing(connect(url)) as client,
        Spool(tmp_path / "p", max_bytes=1 << 20, world=fake.world) as spool,
        capture_logs() as lines,
    ):
        how = {"done": {0: 0}, "wait": lambda _: False, "max_lag": 10, "spool": spool, "world": fake.world}
        writer = SpooledWriter(client, "p", **how)
        writer._probe.start = lambda: None  # it would wait for Redis in a thread of its own
        tries = []
        writer._step = lambda _: tries.append(fake.now_s) or SpooledWriter._step(writer, 1.0)
        for _ in range(400):
            fake.now_s += 0.01
            writer.write([])

    gaps = [after - before for before, after in pairwise(tries)]
    assert gaps == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0], abs=0.015)
    assert warned(lines) == [("server away", "redis")]


def test_a_channels_listener_pauses_longer_each_time_and_names_redis_once(fake):
    listener = _Listener(f"redis://{NOBODY}/0", "tickstock.data.raw", world=fake.world)
    until(fake, 7, listener._closed.set)
    with capture_logs() as lines:
        listener.run()
    assert fake.waits == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0])
    assert warned(lines) == [("server away", "redis")]


def test_the_reader_of_a_vendors_feed_pauses_longer_each_time_and_names_it_once(fake):
    fake.chance = 0.0  # half of each pause
    reader = MassiveReader(
        MassiveOptions(f"ws://{NOBODY}/stocks", "key"),
        None,
        put=lambda _: None,
        on_gap=lambda *_: None,
        now_ms=lambda: 0,
        is_watched=lambda: True,
        world=fake.world,
    )
    until(fake, 9, reader._closed.set)
    with capture_logs() as lines:
        reader.run()
    assert fake.waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15.0])
    assert warned(lines) == [("server away", "massive")]
