"""The last number of each replay that ended in a partition: its frames are repeats if they come again."""

from collections.abc import Iterable

from ...db.postgres import Database
from ...db.queries import query


class FinishedReplays:
    """Asks PostgreSQL for ended replays; each answer is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers: dict[tuple[int, str], int] = {}

    def number(self, partition: int, replay: str) -> int | None:
        """Return a replay's last number in a partition; None if it has not ended there, or is not a replay."""
        key = (partition, replay)
        if key not in self._numbers:
            values = {"replay": replay, "partition": partition}
            row = self._database.connection.execute(query("finished_number"), values).fetchone()
            if row is None:
                return None
            self._numbers[key] = row[0]
        return self._numbers[key]

    def numbers(self, partition: int, producers: Iterable[str]) -> dict[str, int]:
        """Return the last number of each of these producers that is a replay and ended in the partition."""
        numbers = {producer: self.number(partition, producer) for producer in producers}
        return {producer: number for producer, number in numbers.items() if number is not None}

    def forget(self, partition: int) -> None:
        """Ask PostgreSQL again: it may have come back from a backup, in which a replay had not ended yet."""
        self._numbers = {key: number for key, number in self._numbers.items() if key[0] != partition}
