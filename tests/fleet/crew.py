"""The processes of a long run, by role: killed in groups, stopped, started again; and the ticks that they took in.

Each start of a producer is a process under a name of its own, with a record of its own: a producer writes there what it
took, before it frames it. How much of that a killed one has sent, the ledger says.
"""

import re
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import polars as pl

_STARTED = re.compile(r"producer started.*?producer=(\S+)")
_WORKS = re.compile(r"(worker|producer) started|bridge is active|bridge is standby")
_FLOATS = {"price": pl.Float64, "size": pl.Float64}


class Taken(NamedTuple):
    """What one producer took (columns ticker, price, size, sip_timestamp, in order), and its name."""

    role: str
    producer: str
    rows: pl.DataFrame


class Crew:
    """Starts the roles of a run, and those again that were killed.

    roles: {role: function of the process's name, and of the role's number of starts, that returns the arguments}.
    """

    def __init__(self, fleet, roles, *, producers):
        self.fleet = fleet
        self.pids = {}  # {role: pid} of the process that was started last; another thread may read it
        self.died = []  # (role, exit code, the end of its output): by itself, which nobody should
        self.failed_starts = []  # the same of those that had not begun to work: a server went away under their start
        self._roles = roles
        self._producers = producers
        self._starts = dict.fromkeys(roles, 0)

    def start_all(self):
        for role in self._roles:
            self.start(role)

    def start(self, role):
        self._starts[role] += 1
        name = self.name_of(role)
        self.pids[role] = self.fleet.start(name, *self._roles[role](name, self._starts[role])).pid

    def name_of(self, role):
        """Return the name of the process that plays a role now."""
        return f"{role}-{self._starts[role]}" if role in self._producers else role

    def process(self, role):
        return self.fleet.processes[self.name_of(role)]

    def kill(self, roles):
        """SIGKILL all of them at once, and start them again."""
        self.look()
        for role in roles:
            self.process(role).kill()
        for role in roles:
            self.process(role).wait()
            self.start(role)

    def look(self):
        """Start those again that ended by themselves, and remember it."""
        for role in self._roles:
            if (code := self.process(role).poll()) is not None:
                text = self.fleet.log_file(self.name_of(role)).read_text()
                (self.died if _WORKS.search(text) else self.failed_starts).append((role, code, text[-2000:]))
                self.start(role)

    def has_producers(self):
        """Tell whether each producer takes ticks: before, a stop would end it as a kill does."""
        return all(_STARTED.search(self.fleet.log_file(self.name_of(role)).read_text()) for role in self._producers)

    def end_producers(self):
        """SIGTERM to each producer; return the exit codes."""
        for role in self._producers:
            self.process(role).terminate()
        return {role: self.process(role).wait(300) for role in self._producers}

    def end_others(self):
        others = [role for role in self._roles if role not in self._producers]
        for role in others:
            self.process(role).terminate()
        return {role: self.process(role).wait(300) for role in others}

    # -- what came in ------------------------------------------------------------------------------------------------

    def record_of(self, name):
        return Path(self.fleet.folder) / f"{name}.csv"

    def taken(self):
        """Yield what each producer took, in the order of their starts; one that was killed too early took nothing."""
        for role in self._producers:
            for start in range(1, self._starts[role] + 1):
                name = f"{role}-{start}"
                started = _STARTED.search(self.fleet.log_file(name).read_text())
                if started and (rows := whole_rows(self.record_of(name))) is not None:
                    yield Taken(role, started[1], rows)

    def framed(self, taken):
        """Return the rows of what a producer took that it has framed: in each partition the first ones."""
        statement = "SELECT partition, ticks_in - refused FROM ledger WHERE producer = %s"
        counts = dict(self.fleet.rows(statement, taken.producer))
        homes = {ticker: crc32(ticker.encode()) % self.fleet.partitions for ticker in taken.rows["ticker"].unique()}
        home = pl.col("ticker").replace_strict(homes, return_dtype=pl.Int64)
        ranked = taken.rows.with_columns(home=home).with_columns(rank=pl.int_range(pl.len()).over("home"))
        for partition, count in counts.items():
            there = ranked.filter(pl.col("home") == partition).height
            assert there >= count, f"{taken.producer} took {there} ticks of partition {partition}, {count} arrived"
        limit = pl.col("home").replace_strict(counts, default=0, return_dtype=pl.Int64)
        return ranked.filter(pl.col("rank") < limit).drop("home", "rank")


def whole_rows(file):
    """Read a record but for a last row that was torn by a kill; None where there is none."""
    if not file.exists():
        return None
    body = file.read_bytes().rpartition(b"\n")[0] + b"\n"
    return pl.read_csv(body, schema_overrides=_FLOATS) if body.count(b"\n") > 1 else None
