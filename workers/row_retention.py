"""Delete old rows of the fleet's tables: small deletes by keys, one at a time, by any idle worker."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
import structlog

from ..contracts.market_hours import half_days
from ..db.postgres import Connection, is_lost
from ..db.queries import query
from ..db.world import World
from .history import SLACK
from .windows import WINDOW

log = structlog.get_logger()

KEPT_BARS = WINDOW + SLACK  # of the regular hours, per symbol and timeframe, however old: detectors load them
MOST_KEPT_BARS = 5_000  # of a symbol with few trades in those hours: the limit of KEPT_BARS' rule
KEPT_LETTERS = 100_000  # as many as Redis keeps
KEPT_REPLAYS_DAYS = 400
KEPT_RUNS_DAYS = 400  # without their steps, which are records
SHORTEST_BARS_DAYS = 2  # bars of the last day are never deleted: `history_loader.py` relies on it

_SYMBOLS = 50  # in one step
_ROWS = 1000  # deleted in one step: some ten milliseconds
_WALKED = 1000  # rows read in one step
_STEP_EVERY_S = 1.0  # while there is work
_LOOK_EVERY_S = 10.0
_ROUND_EVERY_S = 600.0
_REFUSED_WAIT_S = 86_400.0
_BUSY_WAIT_S = 60.0
_FIRST_UUID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Keep:
    """Days to keep rows.

    bars: our own copy of bars, after their last write. records: records of processes and runs. daily: results of days,
    weeks and months. backtests: results of backtests that ran as jobs.
    """

    bars: int = 7
    patterns: int = 90
    events: int = 30
    indicators: int = 7
    records: int = 30
    daily: int = 400
    backtests: int = 90


KEEP = Keep()


class _Step(NamedTuple):
    """The result of a step. after: where the next step begins; '' at the end of a round."""

    deleted: int
    after: str


class RowRetention:
    """Does the next due step, shared by all workers of the fleet through the rows of `upkeep`."""

    def __init__(self, keep: Keep, *, world: World) -> None:
        self._world = world
        self._keep = keep
        self._next_at = self._world.monotonic_s() + _LOOK_EVERY_S
        self._is_known = False
        self._tasks: dict[str, Callable[[Connection, str], _Step]] = {
            "bars": lambda c, after: self._forget_bars(c, after, "forget_bars"),
            "higher_bars": lambda c, after: self._forget_bars(c, after, "forget_higher_bars"),
            "patterns": lambda c, after: _by_id(c, "patterns", "intraday_patterns", after, keep.patterns),
            "flows": self._forget_flows,
            "events": lambda c, after: _by_id(c, "events", "integration_events", after, keep.events),
            "indicators": lambda c, after: _by_id(c, "indicators", "intraday_indicators", after, keep.indicators),
            "dead_letters": lambda c, _: _all_of(
                c, "forget_dead_letters", {"days": keep.records, "letters": KEPT_LETTERS, "most": _ROWS}
            ),
            "leases": lambda c, after: _walk(c, "forget_leases", after, keep.records),
            "workers": lambda c, after: _walk(c, "forget_workers", after, keep.records),
            "ledger": self._forget_ledger,
            "sessions": lambda c, _: _Step(c.execute(query("forget_sessions"), {"days": keep.records}).rowcount, ""),
            "gaps": lambda c, after: _walk(c, "forget_gaps", after or "0", keep.records),
            "run_steps": lambda c, _: _rest_of(c, "forget_run_steps", keep.records),
            "runs": lambda c, _: _rest_of(c, "forget_runs", KEPT_RUNS_DAYS),
            "backtest_trades": lambda c, _: _rest_of(c, "forget_backtest_trades", keep.backtests),
            "backtest_equity": lambda c, _: _rest_of(c, "forget_backtest_equity", keep.backtests),
            "backtests": lambda c, _: _rest_of(c, "forget_backtests", keep.backtests),
            "replays": lambda c, after: _walk(c, "forget_replays", after, KEPT_REPLAYS_DAYS),
        }

    def step_if_due(self, connection: Connection) -> None:
        """Take a step if due; at most one per second."""
        if self._world.monotonic_s() < self._next_at:
            return
        self._next_at = self._world.monotonic_s() + (_STEP_EVERY_S if self.step(connection) else _LOOK_EVERY_S)

    def step(self, connection: Connection) -> bool:
        """Take the step that has been due longest; return whether there was one."""
        names = {"tasks": list(self._tasks)}
        if not self._is_known:
            connection.execute(query("add_upkeep_tasks"), names)
            self._is_known = True
        task = ""
        try:
            with connection.transaction():
                claimed = connection.execute(query("claim_upkeep"), names).fetchone()
                if claimed is None:
                    return False
                task, after = claimed
                connection.execute(query("limit_upkeep"))
                step = self._tasks[task](connection, after)
                _put_off(connection, task, step, _ROUND_EVERY_S if step.after == "" else _STEP_EVERY_S)
        except psycopg.Error as e:
            if is_lost(connection, e) or not task:
                raise
            self._note_refused(connection, task, e)
        return True

    def _note_refused(self, connection: Connection, task: str, error: psycopg.Error) -> None:
        """Postpone a task that PostgreSQL refuses: after a lock for a minute, after any other refusal for a day."""
        why = str(error).strip().splitlines()[0]
        is_busy = isinstance(error, psycopg.errors.OperationalError)
        if not is_busy:
            log.warning("old rows cannot be deleted", what=task, why=why)
        _put_off(connection, task, _Step(0, ""), _BUSY_WAIT_S if is_busy else _REFUSED_WAIT_S, refused=why)

    def _forget_bars(self, connection: Connection, after: str, name: str) -> _Step:
        if connection.execute(query("try_to_forget_bars")).fetchone() != (True,):
            return _Step(0, after or " ")  # bars are loaded at this moment
        found = connection.execute(query("symbols_of_bars"), {"after": after, "count": _SYMBOLS})
        symbols = [symbol for (symbol,) in found]
        values = {
            "symbols": symbols,
            "kept": KEPT_BARS,
            "most_kept": MOST_KEPT_BARS,
            "half_days": list(half_days()),
            "day": _value(connection, "database_day", {}) - max(self._keep.bars, SHORTEST_BARS_DAYS),
            "unfinished": [replay for (replay,) in connection.execute(query("unfinished_replays"))],
            "most": _ROWS,
        }
        deleted = _value(connection, name, values) if symbols else 0
        if deleted == _ROWS:  # there may be more of these symbols
            return _Step(deleted, after or " ")
        return _Step(deleted, symbols[-1] if len(symbols) == _SYMBOLS else "")

    def _forget_flows(self, connection: Connection, after: str) -> _Step:
        last = _last_id(connection, "patterns", self._keep.patterns)
        if last is None:
            return _Step(0, "")
        return _walk(connection, "forget_flows", after or _FIRST_UUID, 0, last=last)

    def _forget_ledger(self, connection: Connection, after: str) -> _Step:
        partition, _, producer = after.partition(" ")
        values = {"partition": int(partition or -1), "producer": producer, "days": self._keep.records, "most": _WALKED}
        row = connection.execute(query("forget_ledger"), values).fetchone()
        return _Step(row[0], f"{row[1]} {row[2]}") if row else _Step(0, "")


def _by_id(connection: Connection, task: str, table: str, after: str, days: int) -> _Step:
    """Delete the rows of a table that were written more than `days` ago, by their ids."""
    has_parts, has_id = connection.execute(query("table_walk"), {"table": table}).fetchone() or (False, False)
    if has_parts or not has_id:
        return _Step(0, "")  # its parts are dropped instead; without an index each step would read the whole table
    connection.execute(
        query({"patterns": "mark_pattern_ids", "events": "mark_event_ids"}.get(task, "mark_indicator_ids"))
    )
    last = _last_id(connection, task, days)
    if last is None:
        return _Step(0, "")
    values = {"after": after or "0", "last": last, "most": _ROWS}
    deleted, reached = connection.execute(query(f"forget_{task}"), values).fetchone() or (0, None)
    return _Step(deleted, "" if reached is None else str(reached))


def _last_id(connection: Connection, task: str, days: int) -> int | None:
    row = connection.execute(query("last_marked_id"), {"task": task, "days": days}).fetchone()
    return None if row is None else int(row[0])


def _walk(connection: Connection, name: str, after: str, days: int, **more: object) -> _Step:
    """Walk through a table by its key, and delete old rows."""
    values = {"after": after, "days": days, "most": _WALKED} | more
    deleted, reached = connection.execute(query(name), values).fetchone() or (0, None)
    return _Step(deleted, "" if reached is None else str(reached))


def _all_of(connection: Connection, name: str, values: Mapping[str, Any]) -> _Step:
    """Delete the oldest rows, as many as one step may; continue while there are that many."""
    deleted = _value(connection, name, values)
    return _Step(deleted, "more" if deleted == _ROWS else "")


def _rest_of(connection: Connection, name: str, days: int) -> _Step:
    """Delete old rows in any order, as many as one step may; continue while there are that many."""
    deleted = connection.execute(query(name), {"days": days, "most": _ROWS}).rowcount
    return _Step(deleted, "more" if deleted == _ROWS else "")


def _value(connection: Connection, name: str, values: Mapping[str, Any]) -> int:
    (value,) = connection.execute(query(name), values).fetchone() or (0,)
    return int(value)


def _put_off(connection: Connection, task: str, step: _Step, wait_s: float, *, refused: str | None = None) -> None:
    values = {"task": task, "after": step.after, "deleted": step.deleted, "wait_s": wait_s, "refused": refused}
    connection.execute(query("put_off_upkeep"), values)
