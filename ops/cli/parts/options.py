"""What several commands share: the options that say where the servers are, and how errors end a command."""

import functools
import math
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import psycopg
from redis.exceptions import ResponseError

from ....contracts.errors import NothingFound, TickStockError, UsageError, first_line
from ....contracts.printable import printable
from ....db import postgres, redis
from ....db.redis import AWAY
from ....version import __version__
from ...process.logs import set_up_logs
from ...process.metrics_server import MetricsAddress
from ...process.tracing import how_wanted
from ...secrets.files import with_secrets
from ...wiring.servers import place

F = TypeVar("F", bound=Callable[..., Any])

_MAX_NAME_LENGTH = 128  # of a consumer, group or bridge

CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 110}


class Name(click.ParamType[str]):
    """A name that others will see, in tables, logs and errors: nothing that a terminal obeys, and not too long."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        text = str(value)
        if not 0 < len(text) <= _MAX_NAME_LENGTH or not text.isprintable():
            shown = printable(text[:_MAX_NAME_LENGTH])
            self.fail(f"'{shown}' is not 1 to {_MAX_NAME_LENGTH} printable characters", param, ctx)
        return text


class Number(click.FloatRange):
    """A number within bounds, and finite: NaN passes every comparison with a bound, and a wait with it has no end."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class OutputFile(click.Path):
    """A file to be written: its folder must be there, before any work is begun."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        path = Path(str(super().convert(value, param, ctx)))
        if not os.access(path.parent, os.W_OK | os.X_OK):
            why = "may not be written to" if path.parent.is_dir() else "is not a folder"
            self.fail(f"{str(path)!r}: {str(path.parent)!r} {why}", param, ctx)
        return path


def option(*names: str, **kwargs: Any) -> Callable[[F], F]:
    """Make an option that can be set by TICKSTOCK_NAME too; --name/--no-name by the first of the two."""
    variable = "TICKSTOCK_" + names[0].split("/")[0].lstrip("-").replace("-", "_").upper()
    kwargs.setdefault("envvar", variable)
    return click.option(*names, show_envvar=True, **kwargs)


def version_option(program: str) -> Callable[[F], F]:
    """Make a decorator that adds --version."""
    return click.version_option(__version__, prog_name=program)


def default_name() -> str:
    """Return a name that is unique among containers and under a process manager."""
    return f"{platform.node()}-{os.getpid()}"


def stop_with_stdin_option(command: F) -> F:
    """Add the option by which a command that starts others makes them end with it."""
    return click.option("--stop-with-stdin", is_flag=True, hidden=True)(command)


def otel_option(command: F) -> F:
    """Add the option that turns OpenTelemetry on; the command gets `otel`, whether and how it is wanted."""
    return option(
        "--otel",
        is_flag=True,
        callback=lambda _, __, flag: how_wanted(flag, os.environ),
        help="Export spans by OTLP (extra `otel`); by itself where OTEL_EXPORTER_OTLP_ENDPOINT is set.",
    )(command)


def server_options_in(subfolder: str | None, *, to_look: bool = False) -> Callable[[F], F]:
    """Make a decorator that adds the options of every command that needs the servers.

    The command gets `where`, a context manager of a Place. subfolder: of the data folder, for servers of its own.
    to_look: the command says what it sees at once, and what a variable says of waiting is for others.
    """

    def decorate(command: F) -> F:
        @option(
            "--data-dir",
            type=click.Path(file_okay=False, path_type=Path),
            show_default="~/.local/state/tickstock, root: /var/lib/tickstock",
            help="Folder of the embedded servers, which serve where REDIS_URL and DATABASE_URL are not set.",
        )
        @option(
            "--embedded",
            type=click.Choice(["auto", "never"]),
            default="auto",
            help="auto: start Redis and PostgreSQL ourselves where no address of either is set.",
        )
        @option(
            "--connect-timeout",
            type=Number(0, 3600),
            default=0.0 if to_look else 30.0,
            envvar=None if to_look else ["TICKSTOCK_CONNECT_TIMEOUT", "TICKSTOCKPL_PROCESS_TIMEOUT"],
            help="Seconds to wait for the servers at the start.",
        )
        @option(
            "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", help="Least level."
        )
        @option("--log-json", is_flag=True, help="Log lines as JSON.")
        @functools.wraps(command)
        def wrapped(  # one parameter for each option
            *args: Any,
            data_dir: Path | None,
            embedded: str,
            connect_timeout: float,
            log_level: str,
            log_json: bool,
            **kwargs: Any,
        ) -> Any:
            set_up_logs(level=log_level, as_json=log_json)
            with errors_end_the_command():
                return command(
                    *args,
                    where=place(
                        data_dir,
                        subfolder=subfolder,
                        embedded=embedded == "auto",
                        connect_timeout_s=connect_timeout,
                        to_look=to_look,
                    ),
                    **kwargs,
                )

        return wrapped  # type: ignore[return-value]  # the decorated function has the options' signature

    return decorate


server_options = server_options_in(None)
look_options = server_options_in(None, to_look=True)


@contextmanager
def errors_end_the_command() -> Iterator[None]:
    """Turn an error of ours into one line and an exit code: 2 for a usage error, 1 for the rest.

    A file that the user names and that cannot be read is a UsageError of who reads it. Any other file or folder may be
    there again at the next start.

    A reader of our output that went away (`tickstock bars | head`) is no error: it ends us as SIGPIPE ends other tools.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at the end, and would complain: into nothing, then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except UsageError as e:
        click.echo(f"Error: {e}", err=True)
        sys.exit(2)
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as e:
        click.echo(f"Error: {f'{e.filename}: {e.strerror}' if e.filename else e}", err=True)
        sys.exit(1)
    except NothingFound as e:
        click.echo(str(e), err=True)
        sys.exit(1)
    except TickStockError as e:
        click.echo(f"Error: {e}", err=True)
        sys.exit(1)
    except (psycopg.OperationalError, *AWAY) as e:  # a server went away in the middle
        click.echo(f"Error: a server went away: {str(e).strip() or type(e).__name__}", err=True)
        sys.exit(1)
    except ResponseError as e:
        click.echo(f"Error: Redis cannot do this now: {_with_advice(e, redis.advice(e))}", err=True)
        sys.exit(1)
    except psycopg.Error as e:
        if e.sqlstate is None:  # the library's own complaint: a mistake of ours
            raise
        click.echo(f"Error: PostgreSQL refuses a statement: {_with_advice(e, postgres.advice(e))}", err=True)
        sys.exit(1)


def _with_advice(error: Exception, do: str) -> str:
    return f"{first_line(error)}: {do}" if do else first_line(error)


def content_of(file: Path) -> bytes:
    """Read a file that the user names. Raises UsageError."""
    try:
        return file.read_bytes()
    except OSError as e:
        raise UsageError(f"{file}: {e.strerror}") from e


def api_key(file: Path | None, *, needed: bool = True) -> str:
    """Read the vendor's key from a file or MASSIVE_API_KEY(_FILE); never from an argument, which everybody sees."""
    key = content_of(file).decode().strip() if file else with_secrets(os.environ).get("MASSIVE_API_KEY", "").strip()
    if not key and (needed or file):
        raise click.UsageError("no API key: set MASSIVE_API_KEY, or name a file with --api-key-file")
    return key


def metrics_options(usual_port: int) -> Callable[[F], F]:
    """Make a decorator that adds the options of every process of the fleet; it gets `metrics`, a MetricsAddress."""

    def decorate(command: F) -> F:
        @option(
            "--metrics-port",
            type=click.IntRange(0, 65_535),
            default=0,
            help=f"Serve /metrics, /healthz and /readyz on this port, by convention {usual_port}; 0: not at all.",
        )
        @option("--metrics-host", default="127.0.0.1", help="Address that they are served on; 0.0.0.0: on every one.")
        @functools.wraps(command)
        def wrapped(*args: Any, metrics_port: int, metrics_host: str, **kwargs: Any) -> Any:
            return command(*args, metrics=MetricsAddress(metrics_host, metrics_port), **kwargs)

        return wrapped  # type: ignore[return-value]  # the decorated function has the options' signature

    return decorate


def trade_rules_option(command: F) -> F:
    """Add the option that says whether trades' conditions count; the command gets `trade_rules`, None where unsaid."""
    return option(
        "--trade-rules",
        type=click.Choice(["sip", "all"]),
        show_default="sip, wherever a trade says conditions",
        help="sip: a trade's conditions say what it sets of its bar; all: everything.",
    )(command)
