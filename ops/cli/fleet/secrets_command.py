"""`tickstock secrets`."""

from pathlib import Path
from typing import Any

import click

from ...secrets.folder import make_secrets
from ...secrets.handout import Share, hand_out, take_over
from ..parts.options import CONTEXT, errors_end_the_command, option

_AFTER_CHANGE = ": restart Redis, which has the former one (or `ACL LOAD`, where it sees this file)"


class ShareType(click.ParamType[Any]):
    """`/secrets/worker=redis_worker,database_password`; with `?` behind it, a name that need not be there."""

    name = "FOLDER=NAME,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the folder and the names."""
        folder, _, text = str(value).partition("=")
        names = text.split(",")
        if not folder or not all(name.removesuffix("?") for name in names):
            self.fail(f"{value!r} is no FOLDER=NAME,…", param, ctx)
        always = tuple(name for name in names if not name.endswith("?"))
        return Share(Path(folder), always, tuple(name[:-1] for name in names if name.endswith("?")))


@click.command(context_settings=CONTEXT, short_help="Make the passwords of a fleet of containers.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--given",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder whose files are taken over first, each in place of the one that would be made.",
)
@option("--needed-secrets", default="", metavar="NAMES", help="Names that --given must have, with spaces between them.")
@click.option(
    "--hand-out",
    "shares",
    type=ShareType(),
    multiple=True,
    help="Copy some files into a service's own folder; once for each. `NAME?`: where it is there.",
)
def secrets(folder: Path, given: Path | None, needed_secrets: str, shares: tuple[Share, ...]) -> None:
    """Make a folder of files with the passwords that compose.yaml needs, and the users of Redis with them.

    What is there is kept, but for the users' rights, which are this version's. No password is printed.
    """
    with errors_end_the_command():
        if given:
            for name in take_over(given, folder, needed=needed_secrets.split()):
                click.echo(f"took over {given / name}")
        for name, what in make_secrets(folder):
            click.echo(f"{what} {folder / name}{_AFTER_CHANGE if what == 'changed' else ''}")
        for file in hand_out(folder, shares):
            click.echo(f"handed out {file}")
