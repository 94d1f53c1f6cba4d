"""Advance one data load: a run whose symbols come from its request, and whose state is written to Redis keys."""

from collections.abc import Sequence
from uuid import UUID

from ....contracts.daily.load import MOST_SYMBOLS, LoadRequest
from ....contracts.errors import UsageError
from ....contracts.messages.message import Message
from ....contracts.runs import RunStatus
from ....contracts.universe import EVERY_SYMBOL, UniverseEntry
from ....db.postgres import Connection
from ....db.tables import run_steps, runs
from ....db.tables.jobs import lock_job
from ....db.tables.loads import register, request_of
from ....db.tables.runs import AliveRun
from ....db.tables.universe import named_universe, write_universe
from ..run_moves import RunMoves
from ..sources import NOTHING, Sources
from .csv_folder import CsvFolder

OWN_MINUTES = "no source of bars of days is set up: they are made from our own minutes"
NOT_LOADED = "bars of minutes and hours come from the live feed: only those of days, weeks and months are loaded"
_IMPORTED = "job"  # the name of universes made of a job's symbols; their key is the job's universe_type


class LoadMoves(RunMoves):
    """Advances one load."""

    symbols_are_written = True
    waits_for_the_close = False  # its sender wants the bars there are; a later run asks again for those not final

    def __init__(self, connection: Connection, run_id: UUID, csv_folder: CsvFolder, sources: Sources) -> None:
        super().__init__(connection, _no_universe, sources)
        self._run_id = run_id
        self._csv_folder = csv_folder

    def lock(self) -> AliveRun | None:
        """Lock and return the load, or None if it has ended."""
        return lock_job(self.connection, self._run_id)

    def say(self, messages: Sequence[Message]) -> None:
        """Do nothing: the sender of a load reads its state, and nothing is published on the channels of daily runs."""

    def symbols(self, run: AliveRun) -> list[str]:
        """Add the symbols to the table `symbols`, write the universe that the request names, and return the symbols.

        Raises UsageError.
        """
        request = request_of(self.connection, run.run_id)
        if request.timeframes and not request.makes_bars:
            raise UsageError(NOT_LOADED)
        symbols = self._wanted(request)
        if len(symbols) > MOST_SYMBOLS:
            raise UsageError(f"{len(symbols):,} symbols are too many: {MOST_SYMBOLS:,} at most")
        register(self.connection, symbols)
        if request.name is not None:
            entry = self._entry(request.name)
            write_universe(self.connection, entry, symbols, kind="universe")
            runs.add_note(self.connection, run.run_id, f"{len(symbols)} symbols are the universe {entry}")
        if request.makes_bars and set(request.timeframes) & {"1min", "hourly"}:
            runs.add_note(self.connection, run.run_id, NOT_LOADED)
        if request.makes_bars and not self.sources.days:
            runs.add_note(self.connection, run.run_id, OWN_MINUTES)
        return sorted(symbols)

    def _wanted(self, request: LoadRequest) -> list[str]:
        if request.symbols is not None:
            return list(request.symbols)
        if request.csv_file is not None:
            return self._csv_folder.symbols_of(request.csv_file)
        return list(dict.fromkeys(symbol for name in request.universes for symbol in self._members(name)))

    def _members(self, name: str) -> list[str]:
        """Return the symbols of a universe, or of several whose names are joined with colons."""
        try:
            return named_universe(self.connection, name).symbols
        except UsageError:
            if ":" not in name:
                raise
        return [symbol for part in name.split(":") for symbol in named_universe(self.connection, part).symbols]

    def _entry(self, name: str) -> UniverseEntry:
        """Return the existing universe of this name, or a new one."""
        try:
            return named_universe(self.connection, name).entry
        except UsageError:
            return UniverseEntry(_IMPORTED, name.lower()[:100])

    def end(self, run: AliveRun, status: RunStatus, error: str | None, said: Sequence[Message] = ()) -> None:
        """End the load. A load has failed if none of its symbols has bars."""
        if status == "completed" and run.symbols and run.phases:
            failed = run_steps.failed_symbols(self.connection, run.run_id, "import")
            if failed == len(run.symbols):
                status, error = "failed", f"there are no bars of any of its {failed} symbols"
        self._note_sources(run.run_id)
        super().end(run, status, error, said)

    def _note_sources(self, run_id: UUID) -> None:
        """Record how many bars each source gave, and which questions had no answer: the sender reads only the state."""
        if sources := run_steps.sources_of(self.connection, run_id):
            given = ", ".join(f"{count:,} {source}" for source, count in sources.items() if count)
            runs.add_note(self.connection, run_id, f"daily bars: {given or 'none'}")
        faults = [one.why for one in runs.failures_of(self.connection, run_id) if one.symbol == EVERY_SYMBOL]
        if faults:
            worst = min(faults, key=lambda why: why.endswith(NOTHING))  # rather a wrong answer than a missing file
            runs.add_note(
                self.connection, run_id, f"questions to the sources without an answer: {len(faults)}, such as {worst}"
            )


def _no_universe(name: str) -> list[str]:
    raise UsageError(f"there is no universe {name}")
