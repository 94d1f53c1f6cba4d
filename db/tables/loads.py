"""Data loads in PostgreSQL: runs of the kind `data_load`, with the job_id that their sender gave."""

from collections.abc import Sequence
from datetime import date, datetime
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from ...contracts.daily.load import Asked, LoadRequest
from ...contracts.messages.processing_events import PhaseName
from ...contracts.runs import RunParameters, RunStatus, parameters_of
from ..postgres import Connection
from ..queries import query
from .runs import AliveRun

BATCH = 10  # symbols of a step; the state of a job changes after each step


class Load(NamedTuple):
    """A data load with its state. ended_s: seconds since its end; is_heard: a message about it came just now."""

    run_id: UUID
    job_id: str
    status: RunStatus
    phases: list[str]
    phase: str | None
    symbols: list[str]
    notes: list[str]
    error: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    ended_s: float | None
    is_heard: bool
    at: datetime


class LoadStep(NamedTuple):
    """A step of a load. failed: symbol -> why."""

    phase: str
    status: str
    symbols: list[str]
    failed: dict[str, str]
    error: str | None


def add_load(connection: Connection, run_id: UUID, asked: Asked, run_date: date) -> bool:
    """Add a queued load, or a failed one if it cannot be done; False: a load with this job_id exists already."""
    request = asked.request
    phases = [] if request is None else _phases(request)
    parameters = RunParameters(lookback_days=1 if request is None else request.sessions, batch=BATCH)
    values = {
        "run_id": run_id,
        "run_date": run_date,
        "universe": "" if request is None else request.csv_file or ",".join(request.universes),
        "phases": phases,
        "parameters": Jsonb(msgspec.to_builtins(parameters)),
        "requested_by": asked.requested_by,
        "job_id": asked.job_id,
        "request": None if request is None else Jsonb(msgspec.to_builtins(request)),
        "status": "queued" if request else "failed",
        "error": asked.why,
    }
    return _added(connection, values)


def cancel_load(connection: Connection, run_id: UUID, job_id: str, run_date: date) -> None:
    """Request the end of a load. If no load has this job_id, add a cancelled one: the load's message may come later."""
    with connection.transaction():
        if connection.execute(query("cancel_load"), {"job_id": job_id}).fetchone() is None:
            values = {
                "run_id": run_id,
                "run_date": run_date,
                "universe": "",
                "phases": [],
                "parameters": Jsonb({}),
                "requested_by": "",
                "job_id": job_id,
                "request": None,
                "status": "cancelled",
                "error": None,
            }
            _added(connection, values)
        connection.execute(query("tell_runs_changed"))


def _added(connection: Connection, values: dict[str, Any]) -> bool:
    (added,) = connection.execute(query("add_load"), values).fetchone() or (False,)
    connection.execute(query("tell_runs_changed"))
    return bool(added)


def _phases(request: LoadRequest) -> list[PhaseName]:
    phases: list[PhaseName] = ["import"] if request.makes_bars else []
    return [*phases, "indicators", "patterns"] if request.with_analysis else phases


def alive_loads(connection: Connection, limit: int) -> list[UUID]:
    """Return the loads to advance now."""
    return [run_id for (run_id,) in connection.execute(query("alive_loads"), {"limit": limit})]


def lock_load(connection: Connection, run_id: UUID) -> AliveRun | None:
    """Lock a load until the end of the transaction; None if it has ended."""
    row = connection.execute(query("lock_load"), {"run_id": run_id}).fetchone()
    if row is None:
        return None
    run = AliveRun(*row)
    return run._replace(parameters=parameters_of(run.parameters))


def request_of(connection: Connection, run_id: UUID) -> LoadRequest:
    """Return the request of a load."""
    (request,) = connection.execute(query("request_of_load"), {"run_id": run_id}).fetchone() or (None,)
    return msgspec.convert(request, LoadRequest)


def loads_to_show(connection: Connection) -> list[Load]:
    """Return the loads whose state is written to Redis: until a day after their end."""
    return [Load(*row) for row in connection.execute(query("loads_to_show"))]


def steps_of_load(connection: Connection, run_id: UUID) -> list[LoadStep]:
    """Return the steps of a load, in their order."""
    return [LoadStep(*row) for row in connection.execute(query("steps_of_load"), {"run_id": run_id})]


def register(connection: Connection, symbols: Sequence[str]) -> None:
    """Add symbols to the table `symbols`, if they are missing there."""
    connection.execute(query("register_symbols"), {"symbols": list(symbols)})


def is_first_to_refuse(connection: Connection, channel: str, body: bytes) -> bool:
    """Record that a message is refused; return False if this was recorded within the last day."""
    digest = sha256(channel.encode() + b"\0" + body).digest()
    return connection.execute(query("refuse_job"), {"digest": digest}).fetchone() is not None


def prune_refused(connection: Connection) -> None:
    """Forget messages that were refused a day ago."""
    connection.execute(query("prune_refused_jobs"))
