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
from ..parts.fleet_settings import partitions_option
from ..parts.options import CONTEXT, server_options
from ..parts.setting import typed

_COLORS = {"ok": "green", "warn": "yellow", "FAIL": "red"}


@click.command(context_settings=CONTEXT, short_help="Check both servers and the rights on them.")
@partitions_option
@typed(
    "--role",
    "roles",
    type=click.Choice(list(RIGHTS)),
    multiple=True,
    show_default="all roles",
    help="Check only the rights in Redis that this role needs. Can be given more than once.",
)
@server_options
def doctor(where: AbstractContextManager[Place], partitions: int | None, roles: tuple[Role, ...]) -> None:
    """Check both servers and the rights on them. Print one line for each check, with what to change.

    \b
    Redis        version, eviction policy, memory, AOF; the ACL rights of its user
    PostgreSQL   version, durability, schema; the rights of its role on tables,
                 sequences and functions
    partitions   the recorded count, against --partitions; a key of each is read
                 from Redis
    clocks       those of this host and of both servers differ by at most a second

    Each server is asked once; --connect-timeout-s does not apply. Exit 1 if a line says FAIL.
    """  # noqa: D301  # \b: click does not wrap the lines below it
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
