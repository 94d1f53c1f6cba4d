"""The user's options of a worker, with every default."""

from dataclasses import dataclass

from ..contracts.bounds import HELD_BYTES, MAX_FRAME_BYTES
from ..contracts.names import GROUP
from ..contracts.spellings.tick_json import DEFAULT_SECOND_STAMP, SecondStamp
from ..contracts.spellings.trade_conditions import DEFAULT_RULES, TRADE_RULES
from ..db.staged_rows import TableShape
from .partition.tick_check import LATENESS_MS, MAX_FUTURE_S, MS_NS, Limits
from .row_retention import KEEP, Keep

HISTORY_MB = 160  # with all that a worker needs besides it stays below 400 MB


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The user's options of a worker. Each name ends with its unit."""

    consumer: str
    group: str = GROUP
    read_count: int | None = None  # entries of a partition in one read; None: as many as READ_TICKS ticks fill
    commit_ms: int = 1000
    allowed_lateness_ms: int = LATENESS_MS
    max_future_s: float = MAX_FUTURE_S
    missing_frames_wait_s: float = 10.0
    retention_s: float = 900.0
    gather_ms: int = 50  # from one read to the next; commit_ms if that is less
    second_stamp: SecondStamp = DEFAULT_SECOND_STAMP
    trade_rules: TRADE_RULES = DEFAULT_RULES  # of the front door's ticks
    detects: bool = True  # patterns and indicators, not bars alone
    history_mb: int = HISTORY_MB
    keep: Keep = KEEP

    def limits(self, shape: TableShape, partitions: int) -> Limits:
        """Return the limits of valid ticks. shape: of the table of bars; partitions: of the whole stream."""
        return Limits(
            self.allowed_lateness_ms * MS_NS,
            int(self.max_future_s * 1000) * MS_NS,
            0.5 * 10.0**-shape.price_decimals,
            shape.max_price,
            shape.max_size,
            max(MAX_FRAME_BYTES, HELD_BYTES // partitions),
            partitions,
        )
