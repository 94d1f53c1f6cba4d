"""Jobs as they are kept: runs that somebody asked for under an id of their own, data loads and backtests."""

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
    """A job is not what the caller takes it for: another one has its id, or it has ended. Change nothing."""


class NewJob(NamedTuple):
    """A job that is asked for. request: as it was understood, None where it was not. why: it cannot be done."""

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
    """Add a job that waits, or one that has failed where it cannot be done; False: it was there already."""
    return _added(connection, run_id, job, "queued" if job.why is None else "failed")


def cancel_job(connection: Connection, run_id: UUID, kind: JobKind, job_id: str, run_date: date) -> bool:
    """Ask for the end of a job; False: it was not there yet, and has ended when it comes.

    run_id, kind: for its row then.
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
    """Return the jobs of a kind that are to be moved on now."""
    values = {"kind": kind, "limit": limit}
    return [run_id for (run_id,) in connection.execute(query("alive_jobs"), values)]


def lock_job(connection: Connection, run_id: UUID) -> AliveRun | None:
    """Lock a job until the end of the transaction; None where it has ended."""
    row = connection.execute(query("lock_job"), {"run_id": run_id}).fetchone()
    if row is None:
        return None
    run = AliveRun(*row)
    return run._replace(parameters=parameters_of(run.parameters))


def job_id_of(connection: Connection, run_id: UUID) -> str:
    """Return the id that its sender gave a job."""
    (job_id,) = connection.execute(query("job_id_of"), {"run_id": run_id}).fetchone() or ("",)
    return str(job_id)


def request_of_job(connection: Connection, run_id: UUID) -> Any:
    """Return what a job is to do, as JSON."""
    (request,) = connection.execute(query("request_of_job"), {"run_id": run_id}).fetchone() or (None,)
    return request


def is_first_to_refuse(connection: Connection, channel: str, body: bytes) -> bool:
    """Tell whether nobody else has refused this very message within the last day, and note that we have."""
    digest = sha256(channel.encode() + b"\0" + body).digest()
    return connection.execute(query("refuse_job"), {"digest": digest}).fetchone() is not None


def prune_refused(connection: Connection) -> None:
    """Forget messages that were refused a day ago."""
    connection.execute(query("prune_refused_jobs"))
