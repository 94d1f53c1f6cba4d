"""Data loads in PostgreSQL: runs of the kind `data_load`, with the job_id that their sender gave."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from ...contracts.daily.load import Asked, LoadRequest
from ...contracts.messages.processing_events import PhaseName
from ...contracts.runs import RunParameters, RunStatus
from ..postgres import Connection
from ..queries import query
from .jobs import NewJob, add_job, request_of_job

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
    job = NewJob(
        kind="data_load",
        job_id=asked.job_id,
        run_date=run_date,
        requested_by=asked.requested_by,
        request=request,
        phases=[] if request is None else _phases(request),
        parameters=RunParameters(lookback_days=1 if request is None else request.sessions, batch=BATCH),
        universe="" if request is None else request.csv_file or ",".join(request.universes),
        why=asked.why,
    )
    return add_job(connection, run_id, job)


def _phases(request: LoadRequest) -> list[PhaseName]:
    phases: list[PhaseName] = ["import"] if request.makes_bars else []
    return [*phases, "indicators", "patterns"] if request.with_analysis else phases


def request_of(connection: Connection, run_id: UUID) -> LoadRequest:
    """Return the request of a data load."""
    return msgspec.convert(request_of_job(connection, run_id), LoadRequest)


def loads_to_show(connection: Connection) -> list[Load]:
    """Return the loads whose state is written to Redis: until a day after their end."""
    return [Load(*row) for row in connection.execute(query("loads_to_show"))]


def steps_of_load(connection: Connection, run_id: UUID) -> list[LoadStep]:
    """Return the steps of a load, in their order."""
    return [LoadStep(*row) for row in connection.execute(query("steps_of_load"), {"run_id": run_id})]


def register(connection: Connection, symbols: Sequence[str]) -> None:
    """Add symbols to the table `symbols`, if they are missing there."""
    connection.execute(query("register_symbols"), {"symbols": list(symbols)})
