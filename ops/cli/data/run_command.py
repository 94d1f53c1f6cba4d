"""`tickstock run`: starts, lists, shows, cancels and retries daily runs."""

import sys
import time
from contextlib import AbstractContextManager, suppress
from datetime import date, datetime
from uuid import UUID

import click
import msgspec
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from ....contracts.errors import NothingFound, UsageError
from ....contracts.messages.processing_events import CacheMode
from ....contracts.runs import CACHE_MODES, EVERY_UNIVERSE, RunParameters, phases_of
from ....contracts.universe import UniverseList, read_universe_option
from ....db.postgres import Connection
from ....db.schema.migrate import check_schema
from ....db.tables.lists import symbol_exists
from ....db.tables.run_steps import sources_of
from ....db.tables.runs import RunRow, cancel_run, failures_of, list_runs, notes_of
from ....db.tables.universe import Universe
from ...jobs.known_names import universe_named
from ...jobs.runs import RunProgress, check_names, day_of_run, progress_of, retry_run, run_named, start_run, watch_run
from ...process.console import make_console
from ...wiring.servers import Place, open_postgres
from ..parts.options import CONTEXT, server_options
from ..parts.setting import typed
from .run_schedule import schedule

_NAME = "tickstock-run"
_LEAST_WIDTH = 160
_GOOD = "completed"


@click.group(context_settings=CONTEXT, short_help="Start, list, show, cancel and retry daily runs.")
def run() -> None:
    """Daily runs: daily, weekly and monthly bars, and detections on them. Processes `tickstock-jobs` do the work.

    Only one run is active at a time. `start` and `retry` wait for its end. They exit 0 if it completed, also if some of
    its symbols failed (stderr says how many). They exit 1 if it failed or was cancelled; it has failed, too, if none
    of its symbols succeeded. With --no-wait, exit 0 means that the run was added.
    """


run.add_command(schedule)
wait_option = typed("--wait/--no-wait", default=True, help="Wait for the end, and show the progress.")


@run.command(context_settings=CONTEXT, short_help="Start a run.")
@typed("--date", "day", type=click.DateTime(["%Y-%m-%d"]), show_default="the last trading day", help="Day of the run.")
@typed(
    "--phase",
    "phases",
    multiple=True,
    default=("all",),
    help="Phases: all, import, cache_sync, indicators, patterns. Can be given more than once.",
)
@typed(
    "--universe",
    default=EVERY_UNIVERSE,
    help="Symbols: NAME:KEY or NAME of a universe, @FILE, or a list; all: every symbol that has bars.",
)
@typed("--symbol", "symbols", multiple=True, help="Only this symbol. Can be given more than once.")
@typed(
    "--timeframe",
    "timeframes",
    multiple=True,
    help="Only this timeframe: daily, weekly or monthly. Can be given more than once.",
)
@typed(
    "--lookback-days",
    type=click.IntRange(1, 1000),
    default=1,
    help="Number of trading days, the last one is the day of the run.",
)
@typed("--cache-mode", type=click.Choice(CACHE_MODES), default="full", help="Which universes cache_sync computes.")
@typed("--skip-market-check", is_flag=True, help="Run also if the market was closed on that day.")
@wait_option
@server_options
def start(
    where: AbstractContextManager[Place],
    day: datetime | None,
    phases: tuple[str, ...],
    universe: str,
    symbols: tuple[str, ...],
    timeframes: tuple[str, ...],
    lookback_days: int,
    cache_mode: CacheMode,
    skip_market_check: bool,
    wait: bool,
) -> None:
    """Start a run. If a run is active, print which one, start none, and exit 1.

    Exit 0 if the run completed, also if some symbols failed; 1 if it failed, was cancelled, or no symbol succeeded.
    """
    parameters = RunParameters(
        timeframes=timeframes or None,
        symbols=symbols or None,
        lookback_days=lookback_days,
        cache_mode=cache_mode,
        skip_market_check=skip_market_check,
    )
    wanted = phases_of(phases)
    with where as place, open_postgres(place, name=_NAME) as connection:
        check_schema(connection)
        run_date = day_of_run(connection, day.date() if day else None, skip_market_check=skip_market_check)
        if universe != EVERY_UNIVERSE:
            universe = _universe_meant(connection, universe)
            Universe(universe, place.servers.database_url)  # raises UsageError if it does not exist
        check_names(connection, parameters, run_date)
        run_id = start_run(
            connection,
            run_date=run_date,
            universe=universe,
            phases=wanted,
            parameters=parameters,
            requested_by="shell",
        )
        _say_started(connection, run_id, run_date, wait=wait)


@run.command(context_settings=CONTEXT, short_help="Run the symbols that failed in a run again.")
@click.argument("run_id", type=click.UUID)
@typed("--symbol", "symbols", multiple=True, help="Only this symbol. Can be given more than once.")
@wait_option
@server_options
def retry(where: AbstractContextManager[Place], run_id: UUID, symbols: tuple[str, ...], wait: bool) -> None:
    """Start a run of the symbols that failed in run RUN_ID. Exit 1 if it fails, or if no symbol succeeds now."""
    with where as place, open_postgres(place, name=_NAME) as connection:
        check_schema(connection)
        again = retry_run(connection, run_id, symbols, "shell")
        _say_started(connection, again, run_named(connection, again).run_date, wait=wait)


@run.command(context_settings=CONTEXT)
@server_options
def cancel(where: AbstractContextManager[Place]) -> None:
    """Cancel the active run. Its finished steps stay. Exit 1 if no run is active."""
    with where as place, open_postgres(place, name=_NAME) as connection:
        check_schema(connection)
        run_id = cancel_run(connection)
    if run_id is None:
        raise NothingFound("no run is active")
    click.echo(f"run {run_id} is being cancelled")


@run.command(context_settings=CONTEXT)
@typed("--days", type=click.IntRange(1, 36_500), default=7, help="Only runs of the last days, this many.")
@typed("--json", "as_json", is_flag=True, help="Print one JSON object in each line.")
@server_options
def ls(where: AbstractContextManager[Place], days: int, as_json: bool) -> None:
    """List runs, newest first."""
    with where as place, open_postgres(place, name=_NAME) as connection:
        check_schema(connection)
        found = list_runs(connection, days=days)
    if as_json:
        for one in found:
            click.echo(msgspec.json.encode(one._asdict()).decode())
    elif found:
        _print_runs(found)
    else:
        click.echo("no runs: `tickstock run start` starts one")


@run.command(context_settings=CONTEXT)
@click.argument("run_id", type=click.UUID, required=False)
@typed("--json", "as_json", is_flag=True, help="Print one JSON object.")
@server_options
def show(where: AbstractContextManager[Place], run_id: UUID | None, as_json: bool) -> None:
    """Show a run (default: the latest): its progress and its failed symbols. Exit 1 if it ended without success."""
    with where as place, open_postgres(place, name=_NAME) as connection:
        check_schema(connection)
        found = run_named(connection, run_id)
        progress, failures = progress_of(connection, found), failures_of(connection, found.run_id)
        sources, notes = sources_of(connection, found.run_id), notes_of(connection, found.run_id)
    if as_json:
        shown = {
            **found._asdict(),
            "progress": progress.share,
            "sources": sources,
            "notes": notes,
            "failures": [one._asdict() for one in failures],
        }
        click.echo(msgspec.json.encode(shown).decode())
    else:
        _print_runs([found])
        if found.ended_at is None:
            click.echo(_line(progress))
        if sources:
            click.echo("daily bars: " + ", ".join(f"{count:,} {source}" for source, count in sources.items()))
        for note in notes:
            click.echo(note)
        for one in failures:
            click.echo(f"{one.symbol}: {one.phase}: {one.why}")
    if found.status not in (_GOOD, "queued", "running"):
        sys.exit(1)


def _universe_meant(connection: Connection, text: str) -> str:
    """Return the NAME:KEY of a universe that is given by one word, as `run schedule set` takes it; else the text."""
    given = read_universe_option(text)
    if isinstance(given, UniverseList) and len(given.symbols) == 1 and not symbol_exists(connection, given.symbols[0]):
        with suppress(UsageError):  # a symbol without bars so far: the vendor may know it
            return universe_named(connection, given.symbols[0])
    return text


def _say_started(connection: Connection, run_id: UUID, day: date, *, wait: bool) -> None:
    click.echo(f"run {run_id} of {day}")
    if not wait:
        return
    ended = _watch(connection, run_id)
    click.echo(
        f"{ended.status}: {ended.symbols_processed:,} symbols, {ended.symbols_failed:,} failed,"
        f" {ended.indicators:,} indicator values, {ended.patterns:,} patterns"
    )
    if ended.error:
        click.echo(ended.error, err=True)
    if ended.symbols_failed:
        click.echo(f"{ended.symbols_failed:,} symbols failed: `tickstock run show {run_id}` lists them", err=True)
    if ended.status != _GOOD:
        sys.exit(1)


def _watch(connection: Connection, run_id: UUID) -> RunRow:
    """Show the progress of a run until its end: a bar in a terminal, else a line for each phase."""
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[said]}"),
    )
    console = make_console(stderr=True)
    latest, line = run_named(connection, run_id), ""
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("queued", total=1.0, said="")
        for progress in watch_run(connection, run_id, time.sleep):
            latest = progress.run
            bar.update(task, description=latest.phase or "queued", completed=progress.share, said=_said(progress))
            if not console.is_terminal and (said := _phase_line(progress)) != line:
                line = said
                click.echo(line, err=True)
    return latest


def _line(progress: RunProgress) -> str:
    return f"{progress.run.phase or 'queued'}: {progress.share:.0%} {_said(progress)}".rstrip()


def _phase_line(progress: RunProgress) -> str:
    if not progress.is_coordinated and progress.run.ended_at is None:
        return _said(progress)
    return progress.run.phase or "queued"


def _said(progress: RunProgress) -> str:
    if progress.run.ended_at is None and not progress.is_coordinated:
        return "waiting: no process `tickstock-jobs` is running"
    return "" if progress.eta_s is None else f"{progress.eta_s:.0f} s left"


def _print_runs(found: list[RunRow]) -> None:
    table = Table(
        "run", "date", "trigger", "status", "phase", "symbols", "failed", "indicators", "patterns", "s", "error"
    )
    for one in found:
        seconds = f"{(one.ended_at - one.started_at).total_seconds():.1f}" if one.ended_at and one.started_at else ""
        counts = (one.symbols_processed, one.symbols_failed, one.indicators, one.patterns)
        trigger = f"{one.trigger}, late" if one.is_late else one.trigger
        texts = (str(one.run_id), str(one.run_date), trigger, one.status, one.phase or "")
        table.add_row(*map(Text, (*texts, *(f"{count:,}" for count in counts), seconds, one.error or "")))
    console = make_console()
    (console if console.is_terminal else make_console(width=_LEAST_WIDTH)).print(table)
