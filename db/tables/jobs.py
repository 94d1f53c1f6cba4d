"""The rows of jobs. A job is a data load or a backtest: a run whose sender gave it an id."""

from collections.abc import Sequence
from datetime import date
from hashlib import sha256
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from ...contracts.errors import TickStockError
from ...contracts.runs import RunParameters, RunStatus, parameters_of
from ..postgres import Connection
from ..queries import query
from .runs import AliveRun

JobKind = Literal["data_load", "backtest"]


class JobConflict(TickStockError):
    """A call cannot be done, and changes nothing: another job has this id, or the job has ended."""


class NewJob(NamedTuple):
    """A job that somebody asks for. request: None if it is wrong. why: the reason, if the job cannot be done."""

    kind: JobKind
    job_id: str
    run_date: date
    requested_by: str = ""
    request: Any = None
    phases: Sequence[str] = ()
    parameters: RunParameters = RunParameters()
    universe: str = ""
    why: str | None = None


def add_job(connection: Connection, run_id: UUID, job: NewJob) -> bool:
    """Add a job: queued, or failed if it cannot be done. Return False if the job exists already."""
    return _added(connection, run_id, job, "queued" if job.why is None else "failed")


def cancel_job(connection: Connection, run_id: UUID, kind: JobKind, job_id: str, run_date: date) -> bool:
    """Cancel a job. Return False if it did not exist: a row is added, so that the job is cancelled when it arrives.

    run_id, kind: for the added row.
    """
    with connection.transaction():
        is_there = connection.execute(query("cancel_job"), {"job_id": job_id}).fetchone() is not None
        is_new = not is_there and _added(connection, run_id, NewJob(kind, job_id, run_date), "cancelled")
        connection.execute(query("tell_runs_changed"))
    return not is_new


def _added(connection: Connection, run_id: UUID, job: NewJob, status: RunStatus) -> bool:
    values = {
        "run_id": run_id,
        "kind": job.kind,
        "run_date": job.run_date,
        "universe": job.universe,
        "phases": list(job.phases),
        "parameters": Jsonb(msgspec.to_builtins(job.parameters)),
        "requested_by": job.requested_by,
        "job_id": job.job_id,
        "request": None if job.request is None else Jsonb(msgspec.to_builtins(job.request)),
        "status": status,
        "error": job.why,
    }
    (added,) = connection.execute(query("add_job"), values).fetchone() or (False,)
    connection.execute(query("tell_runs_changed"))
    return bool(added)


def alive_jobs(connection: Connection, kind: JobKind, limit: int) -> list[UUID]:
    """Return the active jobs of a kind that the coordinator must advance now."""
    values = {"kind": kind, "limit": limit}
    return [run_id for (run_id,) in connection.execute(query("alive_jobs"), values)]


def lock_job(connection: Connection, run_id: UUID) -> AliveRun | None:
    """Lock a job until the end of the transaction; return None if it has ended."""
    row = connection.execute(query("lock_job"), {"run_id": run_id}).fetchone()
    if row is None:
        return None
    run = AliveRun(*row)
    return run._replace(parameters=parameters_of(run.parameters))


def job_id_of(connection: Connection, run_id: UUID) -> str:
    """Return the id that the sender gave to a job."""
    (job_id,) = connection.execute(query("job_id_of"), {"run_id": run_id}).fetchone() or ("",)
    return str(job_id)


def request_of_job(connection: Connection, run_id: UUID) -> Any:
    """Return the request of a job, as JSON."""
    (request,) = connection.execute(query("request_of_job"), {"run_id": run_id}).fetchone() or (None,)
    return request


def is_first_to_refuse(connection: Connection, channel: str, body: bytes) -> bool:
    """Record that this message was refused; return whether this is the first time within a day."""
    digest = sha256(channel.encode() + b"\0" + body).digest()
    return connection.execute(query("refuse_job"), {"digest": digest}).fetchone() is not None


def prune_refused(connection: Connection) -> None:
    """Delete the records of messages that were refused more than a day ago."""
    connection.execute(query("prune_refused_jobs"))
