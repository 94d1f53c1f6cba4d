"""`tickstock doctor`."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager

import click

from ..doctor import diagnose
from ..finding import Finding
from ..wiring import Place
from .options import CONTEXT, option, server_options

_COLORS = {"ok": "green", "warn": "yellow", "FAIL": "red"}


@click.command(context_settings=CONTEXT, short_help="Check both servers and the rights on them.")
@option("--partitions", type=click.IntRange(1, 4096), help="Check that the stream has so many.")
@server_options
def doctor(where: AbstractContextManager[Place], partitions: int | None) -> None:
    """Check both servers and the rights on them, one line a check, with what to change.

    Each server is asked once, --connect-timeout does not apply. Exit 1 if any line says FAIL.
    """
    with where as place:
        findings = list(_said(diagnose(place.servers, partitions=partitions, embedded=place.embedded)))
    if any(finding.level == "FAIL" for finding in findings):
        sys.exit(1)


def _said(findings: Iterator[Finding]) -> Iterator[Finding]:
    for finding in findings:
        level = click.style(f"{finding.level:<4}", fg=_COLORS[finding.level], bold=finding.level == "FAIL")
        click.echo(f"{level}  {finding.subject:<22} {finding.says}{f'  -> {finding.do}' if finding.do else ''}")
        yield finding
