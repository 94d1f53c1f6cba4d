"""What a user can set on a worker."""

from dataclasses import dataclass

from ..contracts.bounds import HELD_BYTES, MAX_FRAME_BYTES
from ..contracts.names import GROUP
from ..contracts.spellings.tick_json import SecondStamp
from ..contracts.spellings.trade_conditions import DEFAULT_RULES, TRADE_RULES
from ..db.staged_rows import TableShape
from .bounds import KEEP, Keep
from .detect.history_memory import HISTORY_MB
from .partition.tick_check import MS_NS, Limits


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The settings of a worker. Times in the unit of their name."""

    consumer: str
    group: str = GROUP
    read_count: int | None = None  # entries of a partition in one read; None: as many as 262,144 ticks hold
    commit_ms: int = 1000
    allowed_lateness_ms: int = 500
    max_future_s: float = 900.0
    hole_wait_s: float = 10.0
    retention_s: float = 900.0
    block_ms: int = 50
    second_stamp: SecondStamp = "end"
    trade_rules: TRADE_RULES = DEFAULT_RULES  # of the front door's ticks
    detects: bool = True  # patterns and indicators, not bars alone
    history_mb: int = HISTORY_MB
    keep: Keep = KEEP

    def limits(self, shape: TableShape, partitions: int) -> Limits:
        """Return what a tick must keep to. shape: of the table of bars; partitions: of the whole stream."""
        return Limits(
            self.allowed_lateness_ms * MS_NS,
            int(self.max_future_s * 1000) * MS_NS,
            0.5 * 10.0**-shape.price_decimals,
            shape.max_price,
            shape.max_size,
            max(MAX_FRAME_BYTES, HELD_BYTES // partitions),
            partitions,
        )
