"""`tickstock backtests`: start, list, show and cancel backtests that run as jobs."""

import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import click
import msgspec
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from ....contracts.errors import NothingFound
from ....db.postgres import Connection
from ....db.schema.migrate import check_schema
from ....db.tables.backtests import BacktestJob, list_backtests
from ....db.tables.jobs import JobConflict
from ....workers.backtest.jobs.kept_report import figures_of, read_report
from ....workers.backtest.jobs.said import flat
from ....workers.backtest.report import Request
from ...jobs.backtests import backtest_named, cancel_backtest, fields_of, progress_of, start_backtest, watch_backtest
from ...jobs.runs import has_coordinator
from ...output.backtest_files import write_report
from ...process.console import make_console
from ...wiring.servers import Place, open_postgres
from ..parts.backtest_options import backtest_options
from ..parts.backtest_table import print_report
from ..parts.options import CONTEXT, server_options
from ..parts.setting import typed

_NAME = "tickstock-backtests"
_LEAST_WIDTH = 160
_BAD = ("failed", "cancelled")


@click.group(context_settings=CONTEXT, short_help="Start, list, show and cancel backtests that run as jobs.")
def backtests() -> None:
    """Manage backtests that `tickstock-jobs` processes run, for the application, POST /api/backtests or `start`.

    `tickstock backtest` runs a backtest in its own process.
    """


job_argument = click.argument("job_id")


@backtests.command(context_settings=CONTEXT, short_help="Start a backtest in tickstock-jobs.")
@backtest_options
@typed("--job-id", help="Name of the job. A second start with this name shows the same job.", show_default="a new one")
@typed("--wait/--no-wait", default=True, help="Wait for the end, and print the figures.")
@server_options
def start(where: AbstractContextManager[Place], request: Request, job_id: str | None, wait: bool) -> None:
    """Start a backtest as a job, with the limits of jobs. Exit 1 if it does not complete."""
    with where as place, open_postgres(place, name=_NAME) as connection:
        check_schema(connection)
        one = start_backtest(connection, fields_of(request), requested_by="shell", job_id=job_id)
        click.echo(f"backtest {one.job_id}", err=True)
        if wait:
            _show(connection, _watched(connection, one.job_id))


@backtests.command(context_settings=CONTEXT)
@typed("--days", type=click.IntRange(1, 36_500), default=90, help="List only backtests of the last so many days.")
@typed("--json", "as_json", is_flag=True, help="Print one JSON object in each line.")
@server_options
def ls(where: AbstractContextManager[Place], days: int, as_json: bool) -> None:
    """List backtests, the newest first."""
    with where as place, open_postgres(place, name=_NAME) as connection:
        check_schema(connection)
        found = list_backtests(connection, days=days)
    if as_json:
        for one in found:
            click.echo(msgspec.json.encode(_as_object(one)).decode())
    elif found:
        _print_jobs(found)
    else:
        click.echo("no backtests: `tickstock backtests start` starts one")


@backtests.command(context_settings=CONTEXT)
@job_argument
@typed("--out", "folder", type=click.Path(file_okay=False, path_type=Path), help="Folder for JSON, CSV and a picture.")
@typed("--json", "as_json", is_flag=True, help="Print the whole report as JSON, as `tickstock backtest` does.")
@server_options
def show(where: AbstractContextManager[Place], job_id: str, folder: Path | None, as_json: bool) -> None:
    """Show the progress of backtest JOB_ID, or its figures. Exit 1 if it failed or was cancelled."""
    with where as place, open_postgres(place, name=_NAME) as connection:
        check_schema(connection)
        _show(connection, backtest_named(connection, job_id), folder=folder, as_json=as_json)


@backtests.command(context_settings=CONTEXT)
@job_argument
@server_options
def cancel(where: AbstractContextManager[Place], job_id: str) -> None:
    """Cancel backtest JOB_ID. Exit 1 if it has ended."""
    with where as place, open_postgres(place, name=_NAME) as connection:
        check_schema(connection)
        try:
            cancel_backtest(connection, job_id)
        except JobConflict as e:
            raise NothingFound(str(e)) from e
    click.echo(f"backtest {job_id} is being cancelled")


def _show(connection: Connection, one: BacktestJob, *, folder: Path | None = None, as_json: bool = False) -> None:
    report = read_report(connection, one.run_id)
    if as_json and report is not None:
        click.echo(msgspec.json.encode(report).decode())
    elif as_json:
        click.echo(msgspec.json.encode(_as_object(one)).decode())
    else:
        _print_jobs([one])
        if report is not None:
            print_report(report)
    for file in write_report(report, folder) if folder and report else ():
        click.echo(f"wrote {file}", err=True)
    if one.status in _BAD:
        sys.exit(1)


def _watched(connection: Connection, job_id: str) -> BacktestJob:
    """Wait for the end of a backtest; show its progress if the output is a terminal."""
    console = make_console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task, is_told = bar.add_task("queued", total=1.0), False
        for one in watch_backtest(connection, job_id, time.sleep):
            bar.update(task, completed=progress_of(one), description=one.phase or "queued")
            if one.status == "queued" and not is_told and not has_coordinator(connection):
                click.echo("waiting: no process `tickstock-jobs` runs", err=True)
                is_told = True
    return one


def _as_object(one: BacktestJob) -> dict[str, object]:
    results = None if one.figures is None else flat(figures_of(one.figures))
    return {**one._asdict(), "progress": progress_of(one), "figures": results}


def _print_jobs(found: list[BacktestJob]) -> None:
    table = Table("job", "status", "done", "asked", "patterns", "symbols", "from", "to", "trades", "return", "error")
    for one in found:
        request, figures = one.request or {}, figures_of(one.figures) if one.figures else None
        total = figures.account.total_return if figures else None
        table.add_row(
            Text(one.job_id),
            one.status,
            f"{progress_of(one):.0%}",
            f"{one.created_at:%Y-%m-%d %H:%M}",
            Text(", ".join(request.get("patterns", []))),
            str(len(request.get("symbols", []))),
            *(request.get(name, "") for name in ("start", "end")),
            f"{figures.trades.trades:,}" if figures else "",
            "" if total is None else f"{total:.1%}",
            Text(one.error or ""),
        )
    console = make_console()
    (console if console.is_terminal else make_console(width=_LEAST_WIDTH)).print(table)
