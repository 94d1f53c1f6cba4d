"""Goes back to a partition's committed state: start, take-over, hole, anything odd: always this."""

from dataclasses import replace

import structlog

from ..contracts.partition import Position
from ..db.postgres import Database
from ..db.queries import query
from .commit.committer import Committer
from .commit.teller import Teller
from .partition.finished_replays import FinishedReplays
from .partition.partition_state import PartitionState
from .partition.tick_check import Limits
from .partition_reader import PartitionReader

log = structlog.get_logger()


class Restorer:
    """Loads a partition's committed state, copies its results that Redis lacks, and rewinds the stream to it."""

    def __init__(
        self,
        database: Database,
        reader: PartitionReader,
        *,
        committer: Committer,
        teller: Teller,
        finished: FinishedReplays,
        limits: Limits,
    ) -> None:
        self._database = database
        self._reader = reader
        self._committer = committer
        self._teller = teller
        self._finished = finished
        self._limits = limits

    def restore(self, before: PartitionState, *, from_start: bool = False) -> PartitionState | None:
        """Return a partition as it was committed, the stream set back to there; None where another worker has it.

        from_start: of the stream, because its ids are not those that the committed position knows.
        """
        held, partition = before.held, before.partition
        self._finished.forget(partition)
        with self._database.connection.transaction():
            row = self._database.connection.execute(query("load_checkpoint"), {"partition": partition}).fetchone()
        if row is None or row[0] != held.lease.epoch:
            return None
        _, token, position, outbox_number, saved = row
        self._committer.settle(partition, token)
        held = self._teller.open(replace(held, token=token, outbox_number=outbox_number))
        state = PartitionState(held, position=Position.kept(position), limits=self._limits, numbering=before.numbering)
        state.load(saved)
        ends = self._reader.rewind(state, from_start=from_start)
        if ends < state.position and not from_start:
            log.warning(
                "Redis lost entries of a partition",
                partition=partition,
                stream_ends=str(ends),
                committed_to=str(state.position),
            )
        return state
