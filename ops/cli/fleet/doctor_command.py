"""`tickstock doctor`."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager

import click

from ....contracts.printable import printable_lines
from ....contracts.redis_rights import RIGHTS, Role
from ...doctor.doctor import diagnose
from ...doctor.finding import Finding
from ...process.console import plain
from ...wiring.servers import Place
from ..parts.options import CONTEXT, option, server_options

_COLORS = {"ok": "green", "warn": "yellow", "FAIL": "red"}


@click.command(context_settings=CONTEXT, short_help="Check both servers and the rights on them.")
@option("--partitions", type=click.IntRange(1, 4096), help="Check that the stream has so many.")
@option(
    "--role",
    "roles",
    type=click.Choice(list(RIGHTS)),
    multiple=True,
    show_default="all of them",
    help="Ask Redis only for what this role needs; can be given more than once.",
)
@server_options
def doctor(where: AbstractContextManager[Place], partitions: int | None, roles: tuple[Role, ...]) -> None:
    """Check both servers and the rights on them, one line a check, with what to change.

    \b
    Redis        version, eviction policy, memory, AOF; the ACL rights of its user
    PostgreSQL   version, durability, schema; the rights of its role on tables,
                 sequences and functions
    partitions   the recorded count, against --partitions; a key of each is read
                 from Redis
    clocks       this host's and both servers', not more than a second apart

    Each server is asked once, --connect-timeout does not apply. Exit 1 if any line says FAIL.
    """  # noqa: D301  # \b is for click: it leaves the lines below it as they are
    with where as place:
        checks = diagnose(place.servers, partitions=partitions, roles=roles or tuple(RIGHTS), embedded=place.embedded)
        findings = list(_said(checks))
    if any(finding.level == "FAIL" for finding in findings):
        sys.exit(1)


def _said(findings: Iterator[Finding]) -> Iterator[Finding]:
    for finding in findings:
        level = click.style(f"{finding.level:<4}", fg=_COLORS[finding.level], bold=finding.level == "FAIL")
        said = f"{finding.subject:<22} {finding.says}{f'  -> {finding.do}' if finding.do else ''}"
        click.echo(f"{level}  {printable_lines(said)}", file=plain(sys.stdout))
        yield finding
