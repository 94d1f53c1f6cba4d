"""The state of a job as its sender reads it, a JSON text under the keys `names.job_status_keys`. Pure."""

import msgspec

from ..messages.message import IsoTime, Percent
from ..runs import RunStatus


class LoadState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a job is. progress: 0..100; times: ISO 8601, UTC.

    completed_at is there only when the job has ended: its reader shows a null as a text of another job.
    """

    job_id: str
    status: RunStatus
    progress: Percent
    message: str
    current_symbol: str | None
    total_symbols: int
    processed_symbols: int
    successful_symbols: list[str]
    failed_symbols: list[str]
    error_message: str | None
    started_at: IsoTime | None
    timestamp: IsoTime
    log_messages: list[str]
    completed_at: IsoTime | msgspec.UnsetType = msgspec.UNSET
