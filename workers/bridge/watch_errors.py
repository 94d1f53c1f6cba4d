"""What went wrong in the fleet since the last look, each thing told once: `tickstock:errors`."""

from collections.abc import Mapping
from uuid import uuid4

from ...contracts.channels import Category, Message, Severity, error
from ...db.postgres import Connection
from ...db.queries import query
from ..definitions import WrongRow, read_definitions

# A transaction may commit a lower id after a higher one was seen; a worker's take a fraction of this.
_SETTLE_S = 5.0


class ErrorWatch:
    """Looks at dead letters, at the ledger's lost ticks and at the definition tables."""

    def __init__(self) -> None:
        self._letter = 0  # the last one that was looked at
        self._lost = 0
        self._said_rows: set[WrongRow] = set()
        self._listeners = 0

    def begin(self, connection: Connection) -> None:
        """Go on where the former bridge gave its last sign of life.

        A loss that was committed while no bridge was there stands in the ledger, and is told by nobody.
        """
        row = connection.execute(query("former_bridge"), {"within_s": 0}).fetchone()
        values = {"at": row[1] if row else None}
        last = int((connection.execute(query("last_dead_letter_before"), values).fetchone() or (0,))[0])
        self._letter, self._lost = max(self._letter, last), _ticks_lost(connection)

    def look(self, connection: Connection, at_s: float) -> list[Message]:
        """Return the errors that are new. at_s: Unix seconds."""
        values = {"seen": self._letter, "settle_s": _SETTLE_S}
        letters = connection.execute(query("dead_letters_since"), values).fetchall()
        lost = _ticks_lost(connection)
        more_lost, self._lost = max(0, lost - self._lost), lost
        self._letter = max((last for _, _, last in letters), default=self._letter)
        reasons = {reason: count for reason, count, _ in letters}
        said = [_dead_letters(at_s, reasons)] if reasons else []
        return [*said, _lost_ticks(at_s, more_lost, lost)] if more_lost else said

    def look_at_definitions(self, connection: Connection, at_s: float, listeners: int) -> list[Message]:
        """Return one error for each definition row that is wrong or idle, or so in another way than before.

        listeners: of `tickstock:errors`. Who came since the last look hears of all of them.
        """
        definitions = read_definitions(connection)
        if listeners > self._listeners:
            self._said_rows = set()
        self._listeners = listeners
        wrong, idle = set(definitions.wrong) - self._said_rows, set(definitions.idle) - self._said_rows
        self._said_rows = {*definitions.wrong, *definitions.idle}
        return [
            *(_wrong_row(at_s, row) for row in definitions.wrong if row in wrong),
            *(_idle_row(at_s, row) for row in definitions.idle if row in idle),
        ]


def database_away(at_s: float, why: str) -> Message:
    """Report that PostgreSQL is lost, or locked up. why: the driver's words, which hold no secret."""
    text = "PostgreSQL does not answer, or not in time: what needs it waits"
    return _error(at_s, "error", "database", "database", "DATABASE_AWAY", text, {"why": why})


def _ticks_lost(connection: Connection) -> int:
    return int((connection.execute(query("ticks_lost")).fetchone() or (0,))[0])


def _dead_letters(at_s: float, reasons: Mapping[str, int]) -> Message:
    total = sum(reasons.values())
    text = f"{total:,} dead letters were added: " + ", ".join(
        f"{reason} {count:,}" for reason, count in reasons.items()
    )
    context = {"count": total, "reasons": dict(reasons)}
    return _error(at_s, "warning", "validation", "worker", "DEAD_LETTERS", text, context)


def _lost_ticks(at_s: float, count: int, total: int) -> Message:
    text = f"{count:,} ticks were lost on the way to a worker"
    return _error(at_s, "error", "network", "worker", "TICKS_LOST", text, {"count": count, "total": total})


def _wrong_row(at_s: float, row: WrongRow) -> Message:
    text = f"{row.table}: the row {row.name} is skipped: {row.why}"
    return _error(at_s, "warning", "configuration", "worker", "WRONG_DEFINITION", text, row._asdict())


def _idle_row(at_s: float, row: WrongRow) -> Message:
    text = f"{row.table}: {row.name} is never looked for: {row.why}: `tickstock definitions live` switches it on there"
    return _error(at_s, "warning", "configuration", "worker", "IDLE_DEFINITION", text, row._asdict())


def _error(  # one for each part of the message that differs
    at_s: float,
    severity: Severity,
    category: Category,
    component: str,
    code: str,
    text: str,
    context: Mapping[str, object],
) -> Message:
    return error(
        now_s=at_s,
        error_id=str(uuid4()),
        severity=severity,
        category=category,
        component=component,
        error_code=code,
        text=text,
        context=context,
    )
