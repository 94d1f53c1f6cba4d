"""`tickstock dashboards`."""

from importlib.util import find_spec
from pathlib import Path

import click

from ....contracts.errors import UsageError
from ...process.extras import how_to_install
from ..parts.options import CONTEXT, errors_end_the_command, option


@click.command(context_settings=CONTEXT, short_help="Make Grafana's dashboards.")
@option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    show_default="ops/grafana/dashboards of this program",
    help="Folder to write them to.",
)
@option("--check", is_flag=True, help="Write nothing; exit 1 where the folder's files are not what would be made.")
def dashboards(folder: Path | None, check: bool) -> None:
    """Write Grafana's dashboards as JSON files, one a dashboard.

    They stand ready in ops/grafana; this makes them again after a change in ops/dashboards. It needs Grafana's SDK,
    the extra `dashboards`.
    """
    with errors_end_the_command():  # exit 2, for with --check a 1 is a difference
        if find_spec("grafana_foundation_sdk") is None:
            raise UsageError(f"Grafana's SDK is not installed: {how_to_install('dashboards')}")
    from ...dashboards import dashboard_files  # noqa: PLC0415  # the SDK is an extra

    folder = folder or dashboard_files.FOLDER
    try:
        if not check:
            for file in dashboard_files.write(folder):
                click.echo(file)
            return
        found = list(dashboard_files.differences(folder))
    except OSError as e:
        raise click.ClickException(f"{folder}: {e.strerror}") from e
    for line in found:
        click.echo(line, err=True)
    if found:
        raise click.ClickException("make them again: tickstock dashboards")
    click.echo("The dashboards are current.")
