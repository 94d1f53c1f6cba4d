"""The state of a data load: the JSON that its sender reads under the keys `names.job_status_keys`. Pure."""

import msgspec

from ..messages.message import IsoTime, Percent
from ..runs import RunStatus


class LoadState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a job. progress: 0..100; times: ISO 8601, UTC.

    completed_at: left out until the job has ended, because the application would display a null as a text.
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
