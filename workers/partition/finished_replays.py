"""Up to which number a replay came that has ended in a partition: what its frames bring again is known."""

from collections.abc import Iterable

from ...db.postgres import Database
from ...db.queries import query


class FinishedReplays:
    """What PostgreSQL knows of ended replays, asked for each one once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers: dict[tuple[int, str], int] = {}

    def number(self, partition: int, replay: str) -> int | None:
        """Return a replay's last number in a partition; None where it has not ended there, or is no replay."""
        key = (partition, replay)
        if key not in self._numbers:
            values = {"replay": replay, "partition": partition}
            row = self._database.connection.execute(query("finished_number"), values).fetchone()
            if row is None:
                return None
            self._numbers[key] = row[0]
        return self._numbers[key]

    def numbers(self, partition: int, producers: Iterable[str]) -> dict[str, int]:
        """Return the last numbers of those producers that are replays which ended in a partition."""
        numbers = {producer: self.number(partition, producer) for producer in producers}
        return {producer: number for producer, number in numbers.items() if number is not None}

    def forget(self, partition: int) -> None:
        """Ask again: a database that came back older may have forgotten that a replay ended."""
        self._numbers = {key: number for key, number in self._numbers.items() if key[0] != partition}
