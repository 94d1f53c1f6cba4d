"""Runs a command as the whole process. Ctrl-C raises KeyboardInterrupt, which ops/entry.py handles."""

import sys
from typing import NoReturn

import click

from ...process.console import escaping


def run(command: click.Command) -> NoReturn:
    """Run a command with the arguments of the process, and exit. Raises KeyboardInterrupt."""
    with escaping():
        try:
            code = command.main(standalone_mode=False)
        except click.ClickException as e:
            e.show()
            code = e.exit_code
        except click.Abort as e:
            if isinstance(e.__cause__, KeyboardInterrupt):
                raise e.__cause__ from None
            click.echo("Aborted!", err=True)
            code = 1
    sys.exit(code)
