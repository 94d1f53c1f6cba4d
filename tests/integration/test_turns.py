"""A worker and its committer driven by hand, turn by turn, on real servers: what they keep, and what they let go."""

from contextlib import closing
from threading import Event

import psycopg
import pytest
from tickstockpl.db import postgres
from tickstockpl.ops.wiring.servers import Place
from tickstockpl.ops.wiring.worker import make_worker
from tickstockpl.workers.commit import committer
from tickstockpl.workers.commit.find import history_loader
from tickstockpl.workers.commit.transaction import CommitTransaction
from tickstockpl.workers.detect.definitions import seed_definitions
from tickstockpl.workers.worker_options import WorkerOptions

BAR = (10.0, 10.5, 9.5, 10.4)
QUIET_TURNS = 20


class Turns:
    """A worker on partition 0; `loads` are the symbols whose histories it has loaded, one entry a query."""

    def __init__(self, worker, stream, wait_for):
        self.worker, self.stream, self.wait_for = worker, stream, wait_for
        self.committer = worker._committer
        self.loads = []
        self.admin = psycopg.connect(stream.servers.database_url, autocommit=True)

    @property
    def state(self):
        return self.worker._states[0]

    def send(self, *minutes, price=BAR):
        self.stream.send(*(("A", one, 100, minute) for minute in minutes for one in price))

    def rows(self, statement):
        return self.admin.execute(statement).fetchall()

    def turn(self):
        try:
            self.worker.turn()
            self.worker._recovery.note_served()
        except psycopg.Error as error:
            self.worker._heal(error)

    def until(self, condition):
        def is_met():
            self.turn()
            return condition()

        self.wait_for(is_met)

    def until_closed(self):
        """Read and apply until a bar is closed, and commit nothing."""

        def is_closed():
            self.worker.apply(self.worker.read())
            return self.state.closed()

        self.wait_for(is_closed)

    def until_quiet(self, bars):
        """Take turns until so many bars are there, nothing waits, and nothing more is loaded."""
        quiet = 0
        self.until(lambda: self.rows("SELECT count(*) FROM ohlcv_1min") == [(bars,)])
        self.until(lambda: not len(self.state.marks) and not self.worker._reader.restoring)
        while quiet < QUIET_TURNS:
            loads = len(self.loads)
            self.turn()
            quiet = quiet + 1 if len(self.loads) == loads else 0


@pytest.fixture
def turns(stream, wait_for, monkeypatch):
    with postgres.connect(stream.servers.database_url, name="test") as connection:
        seed_definitions(connection)
    options = WorkerOptions("test-worker", commit_ms=50, gather_ms=1)
    worker = make_worker(Place(stream.servers, False, 5.0), options, partitions=None, stop=Event())
    load_bars = history_loader.load_bars

    def counted(*arguments, **named):
        turns.loads.append(arguments)
        return load_bars(*arguments, **named)

    monkeypatch.setattr(history_loader, "load_bars", counted)
    turns = Turns(worker, stream, wait_for)
    with worker._client, closing(worker._database), turns.admin:
        worker.join()
        turns.until(lambda: worker._states and not worker._reader.restoring)
        yield turns


def averages(turns):
    statement = (
        "SELECT value::float8 FROM intraday_indicators WHERE timeframe = '1min' AND indicator_type = 'SMA_5'"
        " ORDER BY calculation_timestamp"
    )
    return [value for (value,) in turns.rows(statement)]


def lose_once(monkeypatch, *, when):
    """Lose the connection before the next transaction with bars, or behind its COMMIT; return what was lost."""
    run, lost = CommitTransaction.run, []

    def losing(transaction, commit, worker_row):
        now = len(commit.rows) > 0 and not lost
        superseded = run(transaction, commit, worker_row) if not now or when == "after" else {}
        if now:
            lost.append(commit)
            transaction._connection.close()
            raise psycopg.OperationalError("lost")
        return superseded

    monkeypatch.setattr(CommitTransaction, "run", losing)
    return lost


def test_the_committer_keeps_nothing_of_a_commit_between_calls(turns):
    turns.send(0)
    turns.until_closed()
    kept = dict(vars(turns.committer))
    staged = turns.committer.stage([turns.state])
    assert (staged.partitions, len(staged.rows)) == ([0], 1)
    assert vars(turns.committer) == kept
    durable = turns.committer.transact(staged)
    assert durable.partitions == [0]
    assert vars(turns.committer) == kept
    assert turns.committer.stage_rest(durable) is None
    assert turns.rows("SELECT count(*) FROM ohlcv_1min") == [(1,)]


def test_a_bar_later_than_its_symbols_last_is_not_looked_up(turns, monkeypatch):
    turns.send(0)
    turns.until_quiet(bars=1)
    looks, existing = [], committer.existing

    def counted(connection):
        looks.append(True)
        return existing(connection)

    monkeypatch.setattr(committer, "existing", counted)
    turns.send(1)
    turns.until_quiet(bars=2)
    assert not looks
    turns.send(1)  # a late trade
    turns.until(lambda: turns.rows("SELECT max(revision) FROM recent_bar") == [(1,)])
    assert looks


def test_a_bar_that_somebody_else_wrote_meanwhile_is_merged(turns):
    turns.send(0)
    turns.until_quiet(bars=1)
    turns.admin.execute(
        "INSERT INTO recent_bar (symbol, minute, feed, replay, whole, revision, open, high, low, close, volume_micro,"
        " notional, trades, open_ts, close_ts) SELECT symbol, minute + 1, feed, false, false, 0, 20, 20, 20, 20,"
        " 7000000, 140, 1, open_ts + 60000000000, close_ts + 60000000000 FROM recent_bar"
    )
    turns.send(1, 2, price=(15.4,))
    turns.until_quiet(bars=3)
    bars = turns.rows("SELECT high, low, volume_micro, trades FROM recent_bar ORDER BY minute")
    assert bars[1:] == [(20.0, 15.4, 107e6, 2), (15.4, 15.4, 100e6, 1)]
    assert turns.rows("SELECT sum(applied)::int, sum(ticks_in)::int FROM ledger") == [(6, 6)]


def test_a_fenced_partition_is_not_in_what_is_durable_and_its_state_stays_as_it_was(turns):
    turns.send(0)
    turns.until_closed()
    staged, held = turns.committer.stage([turns.state]), turns.state.held
    turns.admin.execute("UPDATE checkpoint SET token = token + 1")
    assert turns.committer.transact(staged).plans == []
    assert turns.state.held == held
    assert turns.state.uncommitted.counts["test-producer"].ticks_in == 4
    assert turns.rows("SELECT count(*) FROM ohlcv_1min") == [(0,)]


def test_histories_survive_a_restore_that_changed_nothing(turns):
    turns.send(*range(-9, 1))
    turns.until_quiet(bars=10)
    assert turns.loads
    turns.loads.clear()
    turns.worker.restore(0)
    turns.send(1, price=(15.4,))
    turns.until_quiet(bars=11)
    assert turns.loads == []
    assert averages(turns) == [pytest.approx(10.4)] * 6 + [pytest.approx(11.4)]


def test_histories_are_loaded_again_where_another_moved_the_token(turns):
    turns.send(*range(-9, 1))
    turns.until_quiet(bars=10)
    turns.loads.clear()
    turns.admin.execute("UPDATE checkpoint SET token = token + 1")
    turns.send(1, price=(15.4,))
    turns.until_quiet(bars=11)
    assert turns.loads
    assert averages(turns) == [pytest.approx(10.4)] * 6 + [pytest.approx(11.4)]


def test_a_commit_that_failed_leaves_none_of_its_bars_in_the_histories(turns, monkeypatch):
    turns.send(*range(-9, 1))
    turns.until_quiet(bars=10)
    turns.loads.clear()
    lost = lose_once(monkeypatch, when="before")
    turns.send(1, price=(15.4,))
    turns.until(lambda: lost)
    assert turns.worker._committer._finder.histories.of(turns.state) is not lost[0].plans[0].detector
    turns.until_quiet(bars=11)
    assert turns.loads
    assert averages(turns) == [pytest.approx(10.4)] * 6 + [pytest.approx(11.4)]


def test_a_commit_whose_answer_was_lost_is_counted_once_and_keeps_the_histories(turns, monkeypatch):
    turns.send(*range(-9, 1))
    turns.until_quiet(bars=10)
    turns.loads.clear()
    before = turns.worker._figures.counts
    lost = lose_once(monkeypatch, when="after")
    turns.send(1, price=(15.4,))
    turns.until(lambda: lost)
    turns.until_quiet(bars=11)
    after = turns.worker._figures.counts
    assert (after.ticks - before.ticks, after.bars - before.bars) == (1, 1)
    assert turns.loads == []
    assert averages(turns) == [pytest.approx(10.4)] * 6 + [pytest.approx(11.4)]
