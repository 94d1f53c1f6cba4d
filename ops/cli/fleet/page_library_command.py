"""`tickstock page-library`: fetch the charts library of the page."""

import click

from ...page.library import fetch
from ..parts.options import CONTEXT


@click.command(context_settings=CONTEXT, short_help="Fetch the charts library of the page.")
def page_library() -> None:
    """Fetch the charts library of the page (TradingView Lightweight Charts, Apache-2.0) from the npm registry.

    It needs npm; the extra `page` installs one. Without the library the page shows tables instead of charts.
    """
    for file in fetch():
        click.echo(f"{file.stat().st_size:>9,} bytes  {file}")
