"""`tickstock redis-acl`."""

from pathlib import Path
from typing import Any

import click

from ...secrets.redis_acl import USERS, check_password, users_acl
from ..parts.options import CONTEXT, content_of, errors_end_the_command, option

_OPEN = (
    "`default` needs no password now: keep protected-mode on, then Redis takes connections of this host alone, the "
    "fleet's too. And a start of Redis 7 or 8 loads its append-only file as `default`, and drops what it may not "
    "write (`tickstock status`: REDIS_FORGETS): with `appendonly yes` use `tickstock application-login` instead"
)


class UserFile(click.ParamType[Any]):
    """`worker=/run/secrets/worker`."""

    name = "USER=FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the user's name and the file."""
        name, separator, file = str(value).partition("=")
        if not separator or not file:
            self.fail(f"{value!r} is no USER=FILE", param, ctx)
        return name, Path(file)


@click.command("redis-acl", context_settings=CONTEXT, short_help="Print the users of Redis, with least rights.")
@option(
    "--password-file",
    "password_files",
    type=UserFile(),
    multiple=True,
    envvar="TICKSTOCK_PASSWORD_FILE",
    help=f"A user's password; once for each. Users: {', '.join(USERS)}. In the variable, spaces part them.",
)
@click.option("--cluster", is_flag=True, help="With what the client library asks the nodes of a Redis Cluster.")
@click.option(
    "--application-without-password",
    is_flag=True,
    help="Whoever connects from this host without a login is `application`. Read docs/security.md first.",
)
def redis_acl(password_files: tuple[tuple[str, Path], ...], cluster: bool, application_without_password: bool) -> None:
    """Print the file that Redis 7.0 or later takes as `aclfile`: one user for each role, each with least rights.

    Passwords stand in it as SHA-256 only. A user whose password is not given cannot log in, and `default` is off: what
    ops/redis/users.acl holds is what this prints without passwords. Files are read up to a last line break.
    """
    with errors_end_the_command():
        passwords = {name: check_password(name, content_of(file).rstrip(b"\r\n")) for name, file in password_files}
        said = users_acl(passwords, cluster=cluster, application_without_password=application_without_password)
        click.echo(said, nl=False)
    if application_without_password:
        click.echo(_OPEN, err=True)
