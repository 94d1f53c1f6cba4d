"""`tickstock dashboards`."""

from importlib.util import find_spec
from pathlib import Path

import click

from ....contracts.errors import UsageError
from ...process.extras import how_to_install
from ..parts.options import CONTEXT, errors_end_the_command
from ..parts.setting import typed


@click.command(context_settings=CONTEXT, short_help="Write the dashboards of Grafana.")
@typed(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    show_default="ops/grafana/dashboards of this installation",
    help="Folder to write them to.",
)
@typed(
    "--check", is_flag=True, help="Write nothing; exit 1 if the files in the folder differ from what would be written."
)
def dashboards(folder: Path | None, check: bool) -> None:
    """Write the dashboards of Grafana, one JSON file each.

    ops/grafana has them already; write them again after a change in ops/dashboards. Needs the SDK of Grafana, the extra
    `dashboards`.
    """
    with errors_end_the_command():  # exit 2: with --check, 1 means a difference
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
        raise click.ClickException("write them again: tickstock dashboards")
    click.echo("The dashboards are current.")
