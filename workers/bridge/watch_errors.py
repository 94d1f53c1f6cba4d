"""New errors of the fleet since the last call, each published once on `tickstock:errors`."""

from collections.abc import Mapping
from typing import NamedTuple

from ...contracts.messages.message import Message
from ...contracts.messages.system_messages import Category, Severity, error
from ...db.postgres import Connection
from ...db.queries import query
from ...db.world import World
from ..detect.definition import WrongRow
from ..detect.definitions import read_definitions

# A transaction may commit a lower id after a higher one was seen; a worker's commit is much shorter than this.
_SETTLE_S = 5.0


class _Error(NamedTuple):
    """The content of one message of the channel."""

    severity: Severity
    category: Category
    component: str
    code: str
    text: str
    context: Mapping[str, object]


class ErrorWatch:
    """Reads dead letters, lost ticks in the ledger, and the definition tables."""

    def __init__(self, *, world: World) -> None:
        self._world = world
        self._letter = 0  # the last one read
        self._lost = 0
        self._said_rows: set[WrongRow] = set()
        self._listeners = 0

    def begin(self, connection: Connection) -> None:
        """Continue from the former bridge's last heartbeat.

        Losses committed while no bridge ran are in the ledger, but are not published.
        """
        row = connection.execute(query("former_bridge"), {"within_s": 0}).fetchone()
        values = {"at": row[1] if row else None}
        last = int((connection.execute(query("last_dead_letter_before"), values).fetchone() or (0,))[0])
        self._letter, self._lost = max(self._letter, last), _ticks_lost(connection)

    def new_errors(self, connection: Connection, at_s: float) -> list[Message]:
        """Return the new errors. at_s: Unix seconds."""
        values = {"seen": self._letter, "settle_s": _SETTLE_S}
        letters = connection.execute(query("dead_letters_since"), values).fetchall()
        lost = _ticks_lost(connection)
        more_lost, self._lost = max(0, lost - self._lost), lost
        self._letter = max((last for _, _, last in letters), default=self._letter)
        reasons = {reason: count for reason, count, _ in letters}
        errors = [_dead_letters(reasons)] if reasons else []
        errors += [_lost_ticks(more_lost, lost)] if more_lost else []
        return [self._message(new, at_s) for new in errors]

    def definition_errors(self, connection: Connection, at_s: float, listeners: int) -> list[Message]:
        """Return one error for each definition row that is wrong or idle, if new or changed.

        listeners: subscribers of `tickstock:errors`. If there are more than before, return all of them again.
        """
        definitions = read_definitions(connection)
        if listeners > self._listeners:
            self._said_rows = set()
        self._listeners = listeners
        wrong, idle = set(definitions.wrong) - self._said_rows, set(definitions.idle) - self._said_rows
        self._said_rows = {*definitions.wrong, *definitions.idle}
        errors = [
            *(_wrong_row(row) for row in definitions.wrong if row in wrong),
            *(_idle_row(row) for row in definitions.idle if row in idle),
        ]
        return [self._message(new, at_s) for new in errors]

    def database_away(self, at_s: float, why: str) -> Message:
        """Report that PostgreSQL is away, or locked. why: the driver's words, without secrets."""
        text = "PostgreSQL does not answer, or not in time: its users wait"
        return self._message(_Error("error", "database", "database", "DATABASE_AWAY", text, {"why": why}), at_s)

    def _message(self, new: _Error, at_s: float) -> Message:
        return error(
            now_s=at_s,
            error_id=str(self._world.uuid()),
            severity=new.severity,
            category=new.category,
            component=new.component,
            error_code=new.code,
            text=new.text,
            context=new.context,
        )


def _ticks_lost(connection: Connection) -> int:
    return int((connection.execute(query("ticks_lost")).fetchone() or (0,))[0])


def _dead_letters(reasons: Mapping[str, int]) -> _Error:
    total = sum(reasons.values())
    text = f"{total:,} dead letters were added: " + ", ".join(
        f"{reason} {count:,}" for reason, count in reasons.items()
    )
    context = {"count": total, "reasons": dict(reasons)}
    return _Error("warning", "validation", "worker", "DEAD_LETTERS", text, context)


def _lost_ticks(count: int, total: int) -> _Error:
    text = f"{count:,} ticks were lost on the way to a worker"
    return _Error("error", "network", "worker", "TICKS_LOST", text, {"count": count, "total": total})


def _wrong_row(row: WrongRow) -> _Error:
    text = f"{row.table}: the row {row.name} is skipped: {row.why}"
    return _Error("warning", "configuration", "worker", "WRONG_DEFINITION", text, row._asdict())


def _idle_row(row: WrongRow) -> _Error:
    text = f"{row.table}: {row.name} is never detected: {row.why}: `tickstock definitions live` enables it there"
    return _Error("warning", "configuration", "worker", "IDLE_DEFINITION", text, row._asdict())
