"""`tickstock redis-acl`."""

from pathlib import Path
from typing import Any

import click

from ...secrets.redis_acl import USERS, check_password, users_acl
from ..parts.options import CONTEXT, content_of, errors_end_the_command
from ..parts.setting import option, typed

_OPEN = (
    "`default` needs no password now. Keep protected-mode on: then Redis accepts connections of this host only, also "
    "from the fleet. At a start Redis 7 and 8 load the append-only file as `default`, and drop what this user may not "
    "write (`tickstock status`: REDIS_FORGETS): with `appendonly yes` use `tickstock application-login` instead"
)


class UserFile(click.ParamType[Any]):
    """`worker=/run/secrets/worker`."""

    name = "USER=FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name of the user and the file."""
        name, separator, file = str(value).partition("=")
        if not separator or not file:
            self.fail(f"{value!r} is not USER=FILE", param, ctx)
        return name, Path(file)


@click.command(
    "redis-acl", context_settings=CONTEXT, short_help="Print the users of Redis with the rights that each needs."
)
@option(
    "--password-file",
    "password_files",
    type=UserFile(),
    multiple=True,
    help=f"File with the password of a user; once for each user: {', '.join(USERS)}. In the variable, separate them by "
    "spaces.",
)
@typed("--cluster", is_flag=True, help="Add the commands that the client library sends to a Redis Cluster.")
@typed(
    "--application-without-password",
    is_flag=True,
    help="A connection from this host without a login is `application`. Read docs/security.md first.",
)
def redis_acl(password_files: tuple[tuple[str, Path], ...], cluster: bool, application_without_password: bool) -> None:
    """Print an `aclfile` for Redis 7.0 or later: one user for each role, with the rights that it needs and no others.

    Passwords are printed as SHA-256 only. A user without a password file cannot log in, and `default` is off. Without
    passwords this prints ops/redis/users.acl. A line break at the end of a file is not part of the password.
    """
    with errors_end_the_command():
        passwords = {name: check_password(name, content_of(file).rstrip(b"\r\n")) for name, file in password_files}
        acl = users_acl(passwords, cluster=cluster, application_without_password=application_without_password)
        click.echo(acl, nl=False)
    if application_without_password:
        click.echo(_OPEN, err=True)
