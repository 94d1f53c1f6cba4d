"""`tickstock secrets`."""

from pathlib import Path
from typing import Any

import click

from ...secrets.folder import make_secrets
from ...secrets.handout import Share, hand_out, take_over
from ..parts.options import CONTEXT, errors_end_the_command
from ..parts.setting import option, typed

_AFTER_CHANGE = ": restart Redis, which still has the former one (or run `ACL LOAD` if Redis reads this file)"


class ShareType(click.ParamType[Any]):
    """`/secrets/worker=redis_worker,database_password`. `?` after a name: the file need not exist."""

    name = "FOLDER=NAME,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the folder and the names."""
        folder, _, text = str(value).partition("=")
        names = text.split(",")
        if not folder or not all(name.removesuffix("?") for name in names):
            self.fail(f"{value!r} is not FOLDER=NAME,…", param, ctx)
        always = tuple(name for name in names if not name.endswith("?"))
        return Share(Path(folder), always, tuple(name[:-1] for name in names if name.endswith("?")))


@click.command(context_settings=CONTEXT, short_help="Make the passwords of a fleet of containers.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@typed(
    "--given",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with your own secrets: its files are copied first, and used instead of new ones.",
)
@option(
    "--needed-secrets", default="", metavar="NAMES", help="Names of files that --given must have, separated by spaces."
)
@typed(
    "--hand-out",
    "shares",
    type=ShareType(),
    multiple=True,
    help="Copy these files into the folder of a service; once for each service. `NAME?`: only if the file exists.",
)
def secrets(folder: Path, given: Path | None, needed_secrets: str, shares: tuple[Share, ...]) -> None:
    """Write the passwords that compose.yaml needs, and the users of Redis, into files in FOLDER.

    Files that exist are kept, except for the rights of the users, which become those of this version. No password is
    printed.
    """
    with errors_end_the_command():
        if given:
            for name in take_over(given, folder, needed=needed_secrets.split()):
                click.echo(f"took over {given / name}")
        for name, what in make_secrets(folder):
            click.echo(f"{what} {folder / name}{_AFTER_CHANGE if what == 'changed' else ''}")
        for file in hand_out(folder, shares):
            click.echo(f"handed out {file}")
