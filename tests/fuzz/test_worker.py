import threading
from contextlib import closing

import psycopg
import pytest
import redis
from foreign import Stranger
from fuzzing import fuzz
from hypothesis import strategies as st
from test_frames import is_harmless, own_frame
from tickstockpl.contracts.frames.frame import FIELD
from tickstockpl.contracts.names import stream_key
from tickstockpl.db import postgres
from tickstockpl.db.lease import LEASE_TTL_S
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.workers.worker_options import WorkerOptions


@pytest.fixture
def stream(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, 1)
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        yield migrated_servers, client


# The worker's own thread draws random tokens and pauses while hypothesis makes inputs.
@pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies")
def test_a_worker_among_strangers(tally, stream, wait_for):
    """One worker for all inputs: what any of them left behind, the next ones meet."""
    servers, client = stream
    stop, failed, number = threading.Event(), [], 0

    def run():
        try:
            place = Place(servers, embedded=False, connect_timeout_s=10)
            options = WorkerOptions("fuzzed", commit_ms=50, missing_frames_wait_s=0.2)
            worker = make_worker(place, options, partitions=None, stop=stop)
            with worker._client, closing(worker._database):
                worker.run()
        except BaseException as e:  # noqa: BLE001  # raised again by the test
            failed.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    connection = psycopg.connect(servers.database_url, autocommit=True)

    def applied():
        if failed:
            raise failed[0]
        row = connection.execute("SELECT ticks_in FROM ledger WHERE producer = 'p'").fetchone()
        return row is not None and row[0] == number

    def check(seeds):
        nonlocal number
        pipeline = client.pipeline(transaction=False)
        for seed in seeds:
            stranger = Stranger(seed, odd=0.04)
            if is_harmless(body := stranger.frame()):
                pipeline.xadd(stream_key(0), {stranger.random.choice(("f", "f", "f", "g")): body})
        pipeline.xadd(stream_key(0), {FIELD: own_frame("p", "live", number, 2)})
        pipeline.execute()
        number += 2
        wait_for(applied, within_s=12 * LEASE_TTL_S)
        (letters,) = connection.execute("SELECT count(*) FROM dead_letter").fetchone()
        tally.note("dead letters" if letters else "none refused")

    try:
        seeds = st.lists(st.integers(0, 2**62), min_size=1, max_size=30)
        fuzz(tally, seeds, check, examples=25, round_size=25)
        unbalanced = "SELECT * FROM ledger WHERE ticks_in <> applied + quote_or_zero + refused + future + too_late"
        assert connection.execute(f"{unbalanced} + superseded + lost").fetchall() == []
        odd = "SELECT * FROM ohlcv_1min WHERE NOT (low <= high AND volume >= 0 AND high < 'Infinity' AND low > 0)"
        assert connection.execute(odd).fetchall() == []
    finally:
        stop.set()
        thread.join()
        connection.close()
    assert failed == []
