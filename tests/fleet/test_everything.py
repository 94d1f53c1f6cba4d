"""Everything at once, for half an hour: every bar is exact in the end, and no memory grows.

Two live feeds with all their troubles, the front door, a channel, a stranger's bytes, kills in groups, stops longer
than a lease, restarts of the servers.

TICKSTOCK_SOAK_SECONDS: how long (1800). TICKSTOCK_SOAK_STRANGER: his kinds of mischief (stranger.py: chosen_kinds).
"""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from threading import Event

import polars as pl
import pytest
from tickstockpl.ops.embedded.folder import read_state

from .background import client_of
from .crew import Crew
from .fleet import BAR_FIELDS, assert_same_bars, fleet_on, recount, wait_for, wait_until_detected
from .listener import Listener
from .resident_memory import MemoryLog
from .stranger import Stranger, chosen_kinds
from .stranger_hand import SYMBOLS as STRANGE_SYMBOLS
from .tick_writers import ChannelWriter, DoorWriter

SECONDS = float(os.environ.get("TICKSTOCK_SOAK_SECONDS", "1800"))
KINDS = chosen_kinds(os.environ.get("TICKSTOCK_SOAK_STRANGER", "all"))
BUILD = Path(__file__).parents[2] / "build"

PARTITIONS = 8
DOOR_SYMBOLS = tuple(f"DOOR.{n}" for n in range(20))
CHANNEL_SYMBOLS = tuple(f"CHAN.{n}" for n in range(20))
RETENTION_S = 300  # so that the streams are full early in the run
KILL_EVERY_S = 5.0
STOP_EVERY_S = min(60.0, SECONDS / 4)
STOPPED_S = 7.0  # a lease lives 5 s
SERVERS_EVERY_S = min(150.0, SECONDS / 4)
SAY_EVERY_S = 60.0
STAYERS = ("worker1", "bridge1", "live1")  # never killed: their memory is looked at
TROUBLES = (
    "--disorder-ms", "400", "--late-share", "0.02", "--zero-share", "0.02", "--bad-share", "0.01", "--repeat-share",
    "0.05", "--future-ticks", "1",
)  # fmt: skip

MEMORY_OF_A_WORKER_MB = 400
GROWTH_SHARE, GROWTH_MB = 0.15, 20  # of the last third of a run over its middle one
COLUMNS = {"ticker": pl.String, "sip_timestamp": pl.Int64, "price": pl.Float64, "size": pl.Float64}
DAY_NS = 86_400 * 10**9


def roles(folder):
    def worker(name, _):
        return "worker", "--consumer", name, "--commit-ms", "400", "--retention-s", RETENTION_S

    def bridge(name, _):
        return "bridge", "--name", name

    def live(name, start):
        return (
            "producer", "--source", "synthetic", "--rate", "150", "--symbols", "40", "--seed", start, *TROUBLES,
            "--record", folder / f"{name}.csv", "--spool-dir", folder / "spool",
        )  # fmt: skip

    def channel(name, _):
        return (
            "producer", "--source", "channel", "--family", "tickstock:market:ticks", "--no-repair",
            "--record", folder / f"{name}.csv", "--spool-dir", folder / "spool",
        )  # fmt: skip

    return {
        "worker1": worker, "worker2": worker, "worker3": worker, "bridge1": bridge, "bridge2": bridge,
        "live1": live, "live2": live, "channel": channel,
    }  # fmt: skip


class Run:
    """One run: who sends, who listens, who suffers."""

    def __init__(self, fleet, servers_folder, seed):
        self.fleet = fleet
        self.crew = Crew(fleet, roles(fleet.folder), producers=("live1", "live2", "channel"))
        self.kills = Counter()
        self._servers_folder = servers_folder
        self._random = random.Random(seed)
        servers = fleet.servers
        self.door = DoorWriter(servers, DOOR_SYMBOLS, rate=100, seed=seed)
        self.channel = ChannelWriter(servers, CHANNEL_SYMBOLS, rate=100, seed=seed)
        self.listener = Listener(servers)
        self.stranger = Stranger(servers, KINDS, partitions=PARTITIONS, rate=100, seed=seed)
        self.memory = MemoryLog(BUILD / "everything_memory.csv", lambda: dict(self.crew.pids), self._redis_memory)

    def _redis_memory(self):
        with client_of(self.fleet.servers) as client:
            return {"redis used_memory": client.info("memory")["used_memory"]}

    @property
    def threads(self):
        return self.listener, self.memory, self.door, self.channel, self.stranger

    def start(self):
        self.crew.start_all()
        wait_for(lambda: sum(self.fleet.owners().values()) == PARTITIONS, 120, self.fleet.logs)
        for thread in self.threads:
            thread.start()

    def trouble(self, length_s, say):
        """Kill, stop and restart for so long, each in its own rhythm."""
        began = time.monotonic()
        say_at = SAY_EVERY_S
        servers = [self.restart_redis, self.kill_postgres, self.kill_redis, self.kill_both]
        due = {self.kill_a_group: KILL_EVERY_S, self.stop_one: STOP_EVERY_S, self.next_server: SERVERS_EVERY_S}
        self._next_servers = servers
        at = {act: every_s * (0.5 + i / 10) for i, (act, every_s) in enumerate(due.items())}
        while (now := time.monotonic() - began) < length_s:
            for act, every_s in due.items():
                if now >= at[act]:
                    act()
                    at[act] = now + every_s * self._random.uniform(0.7, 1.3)
            for thread in self.threads:
                thread.check()
            self.crew.look()
            if now >= say_at:
                say(f"{now:.0f} of {length_s:.0f} s, {self.kills.total()} kills and stops, {len(self.crew.died)} died")
                say_at += SAY_EVERY_S
            Event().wait(0.5)

    def kill_a_group(self):
        victims = [role for role in roles(self.fleet.folder) if role not in STAYERS]
        group = self._random.sample(victims, self._random.randint(1, 3))
        self.crew.kill(group)
        self.kills.update(group)

    def stop_one(self):
        """Let one stand still for longer than its leases live."""
        role = self._random.choice([*STAYERS, "worker2", "channel"])
        process = self.crew.process(role)
        process.send_signal(signal.SIGSTOP)
        Event().wait(STOPPED_S)
        process.send_signal(signal.SIGCONT)
        self.kills[f"stop {role}"] += 1

    def next_server(self):
        act = self._next_servers.pop(0)
        self._next_servers.append(act)
        act()
        self.kills[act.__name__] += 1

    def restart_redis(self):
        os.kill(read_state(self._servers_folder).valkey.pid, signal.SIGTERM)

    def kill_redis(self):
        os.kill(read_state(self._servers_folder).valkey.pid, signal.SIGKILL)

    def kill_postgres(self):
        """Stop it as `pg_ctl stop -m immediate` does."""
        os.kill(read_state(self._servers_folder).postgres.pid, signal.SIGQUIT)

    def kill_both(self):
        self.kill_redis()
        self.kill_postgres()

    def settle(self):
        """Wait until what was killed last works again, and little waits: a producer that is stopped waits 20 s."""
        wait_for(self.crew.has_producers, 300, self.fleet.logs)
        wait_for(lambda: sum(self.fleet.owners().values()) == PARTITIONS, 300, self.fleet.logs)
        wait_for(
            lambda: sum(p["lag_ticks"] or 0 for p in self.fleet.status()["partitions"]) < 2000, 300, self.fleet.logs
        )

    def drain(self):
        """End all that sends, and let a last producer send what killed ones left on disk."""
        for thread in (self.stranger, self.door, self.channel):
            thread.finish(300)
        self.settle()
        assert self.crew.end_producers() == {"live1": 0, "live2": 0, "channel": 0}, self.fleet.logs()
        self.fleet.start(
            "last", "producer", "--source", "synthetic", "--rate", "1", "--seconds", "0.001",
            "--spool-dir", self.fleet.folder / "spool",
        )  # fmt: skip
        wait_for(lambda: self.fleet.processes["last"].poll() is not None, 300, self.fleet.logs)
        assert self.fleet.processes["last"].poll() == 0, self.fleet.logs()
        assert list((self.fleet.folder / "spool").glob("*/*.frames")) == []

    def accepted(self):
        """Write every tick of ours that was accepted to a flat file, and return it with the producers' names."""
        taken = list(self.crew.taken())
        parts = [self.crew.framed(one) for one in taken]
        door = pl.DataFrame(self.door.ticks, schema=COLUMNS, orient="row")
        rows = pl.concat([part.select(COLUMNS.keys()) for part in (*parts, door)])
        ours = rows.filter(~pl.col("ticker").is_in(STRANGE_SYMBOLS), pl.col("sip_timestamp") < time.time_ns() + DAY_NS)
        file = self.fleet.folder / "accepted.csv"
        ours.write_csv(file)
        return file, {one.producer: one.role for one in taken}


@pytest.fixture
def run(own_servers, tmp_path, figure):
    seed = random.SystemRandom().randrange(2**32)
    figure(f"seed {seed}")
    servers_folder, servers = own_servers
    with fleet_on(servers, tmp_path, partitions=PARTITIONS) as fleet:
        run = Run(fleet, servers_folder, seed)
        yield run
        for thread in run.threads:
            thread.finish()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 1800)
def test_everything_at_once_leaves_exact_bars_and_flat_memory(run, say_progress, figure):
    run.start()
    run.trouble(SECONDS, say_progress)
    say_progress("drains")
    run.drain()
    file, producers = run.accepted()
    assert_bars_are_exact(run, file)
    wait_until_detected(run.fleet)
    assert_ledger(run, producers)
    assert_all_results_are_told(run)
    assert_channel_ticks_are_those_published(run)
    run.memory.finish()
    for line in figures(run):
        figure(line)
    assert_memory_is_flat(run)
    assert run.crew.died == []
    assert {code for _, code, _ in run.crew.failed_starts} <= {1}
    assert run.crew.end_others() == dict.fromkeys(("worker1", "worker2", "worker3", "bridge1", "bridge2"), 0)


def assert_bars_are_exact(run, file):
    expected = recount(file)
    ours = {symbol for symbol, _ in expected}

    def bars():
        return {key: bar for key, bar in run.fleet.bars().items() if key[0] in ours}

    def ticks_in(bars):
        return sum(bar[BAR_FIELDS.index("trade_count")] for bar in bars.values())

    # The last minute closes by the clock, in its own time.
    expected_ticks = ticks_in(expected)
    wait_for(
        lambda: ticks_in(bars()) >= expected_ticks, 180,
        lambda: f"{expected_ticks} ticks in bars, there are {ticks_in(bars())}\n"
        f"{who_lacks(run, file, bars(), expected)}\n{run.fleet.logs()}",
    )  # fmt: skip
    assert_same_bars(bars(), expected)


def who_lacks(run, file, bars, expected):
    """Say which bars have another number of ticks, who sent ticks of them, and what the ledger counts of those."""
    count = BAR_FIELDS.index("trade_count")
    wrong = {key: bars.get(key) for key, bar in expected.items() if key not in bars or bars[key][count] != bar[count]}
    lines = [f"{key}: {expected[key]}, there is {there}" for key, there in sorted(wrong.items(), key=str)]
    for one in run.crew.taken():
        minute = pl.col("sip_timestamp") // 60_000_000_000
        rows = one.rows.filter(pl.col("ticker").is_in([symbol for symbol, _ in wrong]))
        if rows.filter(minute.is_in([int(at.timestamp()) // 60 for _, at in wrong])).height:
            counted = run.fleet.rows("SELECT * FROM ledger WHERE producer = %s ORDER BY partition", one.producer)
            lines.append(f"{one.producer} of {one.role}: {counted}")
    letters = "SELECT id, reason, detail, left(encode(original, 'escape'), 200) FROM dead_letter ORDER BY id"
    symbols = {symbol for symbol, _ in wrong}
    lines += [f"dead letter: {row}" for row in run.fleet.rows(letters) if any(symbol in row[-1] for symbol in symbols)]
    return "\n".join([f"ticks of {file}", *lines])


def assert_ledger(run, producers):
    rows = run.fleet.ledger()
    assert [row for row in rows if row.gap] == []
    ours = [row for row in rows if row.producer in producers or row.producer == "front-door"]
    assert [row for row in ours if row.lost or row.superseded] == []
    assert [row for row in ours if row.too_late and producers.get(row.producer, "").startswith("live")] == []


def assert_all_results_are_told(run):
    """The bridge has passed every number of the outbox, and left none out between two that were heard.

    Where no stranger writes to the results streams, each stands there once, too.
    """
    fleet = run.fleet
    last = dict(fleet.rows("SELECT partition, outbox_number FROM checkpoint"))
    told = "SELECT partition, number FROM bridge_position WHERE partition >= 0"
    wait_for(lambda: dict(fleet.rows(told)) == last, 120, lambda: f"{dict(fleet.rows(told))} {last}\n{fleet.logs()}")
    run.listener.finish()
    assert run.listener.holes == []
    if "results_entries" not in KINDS:
        for partition, number in last.items():
            assert [n for n, _, _ in fleet.results(partition)] == list(range(1, number + 1))
    kept = "SELECT partition, number FROM outbox WHERE kind IN ('patterns', 'indicators', 'alerts')"
    for partition, numbers in by_partition(fleet.rows(kept)).items():
        assert run.listener.passed_over(partition, numbers) == set(), f"partition {partition}"


def by_partition(rows):
    numbers = {}
    for partition, number in rows:
        numbers.setdefault(partition, set()).add(number)
    return numbers


def assert_channel_ticks_are_those_published(run):
    """What the channel's producers took was said on the channel, each message once."""
    said = Counter(run.channel.ticks)
    heard = Counter()
    for taken in run.crew.taken():
        if taken.role == "channel":
            rows = taken.rows.filter(pl.col("ticker").is_in(CHANNEL_SYMBOLS))
            heard.update(rows.select("ticker", "sip_timestamp", "price", "size").iter_rows())
    assert heard - said == Counter()
    assert heard.total() > said.total() / 10, f"{heard.total()} of {said.total()} messages were heard"
    run.kills["channel messages heard, of 1000"] = round(1000 * heard.total() / said.total())


def assert_memory_is_flat(run):
    grown = list(run.memory.growth(at_least_s=SECONDS * 0.8))
    of_workers = [samples for name, samples in run.memory.samples.items() if name.startswith("worker")]
    assert max(size for samples in of_workers for _, size in samples) < MEMORY_OF_A_WORKER_MB
    assert {name.split()[0] for name, *_ in grown} >= set(STAYERS)
    bent = [row for row in grown if "redis" not in row[0] and row[2] > row[1] * (1 + GROWTH_SHARE) + GROWTH_MB]
    assert bent == []


def figures(run):
    yield f"{SECONDS:.0f} s; kills and stops: {dict(run.kills)}"
    yield f"the stranger: {run.stranger.turns} turns; commands {dict(sorted(run.stranger.done.items()))}"
    yield f"of Redis itself refused: {dict(sorted(run.stranger.refused.items()))}"
    yield f"starts that failed: {[(role, text[-100:]) for role, _, text in run.crew.failed_starts]}"
    ticks = sum(taken.rows.height for taken in run.crew.taken())
    yield f"ticks: {ticks} by producers, {len(run.door.ticks)} through the door; {run.listener.heard} messages heard"
    for name, middle, end, highest in run.memory.growth(at_least_s=SECONDS * 0.8):
        yield f"memory of {name}: {middle:.0f} MB, then {end:.0f}, at most {highest:.0f}"
