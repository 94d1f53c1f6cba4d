"""`tickstock secrets`."""

from pathlib import Path

import click

from ..secret_folder import make_secrets
from .options import CONTEXT, errors_end_the_command

_AFTER_CHANGE = ": restart Redis, which has the former one (or `ACL LOAD`, where it sees this file)"


@click.command(context_settings=CONTEXT, short_help="Make the passwords of a fleet of containers.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def secrets(folder: Path) -> None:
    """Make a folder of files with the passwords that compose/compose.yaml mounts, and the users of Redis with them.

    What is there is kept, but for the users' rights, which are this version's. No password is printed.
    """
    with errors_end_the_command():
        for name, what in make_secrets(folder):
            click.echo(f"{what} {folder / name}{_AFTER_CHANGE if what == 'changed' else ''}")
