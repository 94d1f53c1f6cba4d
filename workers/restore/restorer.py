"""Restores one partition: its committed state, and the stream set back to it. A start and a take-over do the same."""

from dataclasses import replace

import structlog

from ...contracts.partition import Position
from ...db.postgres import Database
from ...db.queries import query
from ..commit.committer import Committer
from ..commit.teller import Teller
from ..partition.finished_replays import FinishedReplays
from ..partition.partition_state import PartitionState
from ..partition.tick_check import Limits
from ..partition_reader import PartitionReader

log = structlog.get_logger()


class Restorer:
    """Loads a partition's committed state, copies the results that Redis lacks, and sets the stream back."""

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
        """Return a partition's committed state, with the stream set back to it; None if another worker owns it.

        from_start: read the stream from its start, because its entries have other ids than when they were committed.
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

    def renew_ids(self, partition: int, latest_ms: int) -> None:
        """Give the entries of a partition's stream new ids. latest_ms: Unix ms; an entry has a later id.

        Entries that are dead letters already are deleted: with a new id they would be refused, and counted, again.
        """
        rows = self._database.connection.execute(query("dead_letter_entries"), {"partition": partition})
        self._reader.renew(partition, latest_ms, refused=[entry for (entry,) in rows])
