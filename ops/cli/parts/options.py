"""What several commands share: types of options, the options for the servers, and how an error ends a command."""

import errno
import functools
import math
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
from .setting import F, option

_MAX_NAME_LENGTH = 128  # of a consumer, group or bridge
_FILE_ERRORS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
_OF_FILES = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.ENAMETOOLONG, errno.ELOOP, errno.EMFILE)
)

CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 110}


class Name(click.ParamType[str]):
    """A name that is shown in tables, logs and errors: 1 to 128 printable characters, no control characters."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        text = str(value)
        if not 0 < len(text) <= _MAX_NAME_LENGTH or not text.isprintable():
            shown = printable(text[:_MAX_NAME_LENGTH])
            self.fail(f"'{shown}' is not 1 to {_MAX_NAME_LENGTH} printable characters", param, ctx)
        return text


class Number(click.FloatRange):
    """A finite number within bounds. NaN passes each comparison with a bound, and a wait for NaN seconds never ends."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class OutputFile(click.Path):
    """A file to write. Its folder must exist and be writable before the command begins."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        path = Path(str(super().convert(value, param, ctx)))
        if not os.access(path.parent, os.W_OK | os.X_OK):
            why = "may not be written to" if path.parent.is_dir() else "is not a folder"
            self.fail(f"{str(path)!r}: {str(path.parent)!r} {why}", param, ctx)
        return path


def version_option(program: str) -> Callable[[F], F]:
    """Make a decorator that adds --version."""
    return click.version_option(__version__, prog_name=program)


def default_name() -> str:
    """Return HOST-PID, which is unique among containers and under a process manager."""
    return f"{platform.node()}-{os.getpid()}"


def stop_with_stdin_option(command: F) -> F:
    """Add --stop-with-stdin: the command stops when its standard input ends, as when the process before it ends."""
    return click.option("--stop-with-stdin", is_flag=True, hidden=True)(command)


def otel_option(command: F) -> F:
    """Add --otel; the command gets `otel`: whether to export spans."""
    return option(
        "--otel",
        is_flag=True,
        callback=lambda _, __, flag: how_wanted(flag, os.environ),
        help="Export spans by OTLP (extra `otel`). On without this option if OTEL_EXPORTER_OTLP_ENDPOINT is set.",
    )(command)


log_json_option = option("--log-json", is_flag=True, help="Write log lines as JSON.")


def server_options_in(subfolder: str | None, *, to_look: bool = False) -> Callable[[F], F]:
    """Make a decorator that adds the options of every command that needs the servers.

    The command gets `where`, a context manager of a Place. subfolder: the command has embedded servers of its own, in
    this folder of the data folder. to_look: the command reports at once what it finds, so it waits for no server, and
    no variable makes it wait.
    """

    def decorate(command: F) -> F:
        @option(
            "--data-dir",
            type=click.Path(file_okay=False, path_type=Path),
            show_default="~/.local/state/tickstock, root: /var/lib/tickstock",
            help="Folder of the embedded servers. They run if neither REDIS_URL nor DATABASE_URL is set.",
        )
        @option(
            "--embedded",
            type=click.Choice(["auto", "never"]),
            default="auto",
            help="auto: start Redis and PostgreSQL if no address of either is set. never: require the addresses.",
        )
        @option(
            "--connect-timeout-s",
            former="--connect-timeout",
            type=Number(0, 3600),
            default=0.0 if to_look else 30.0,
            help="How long to wait for the servers at the start.",
            **({"envvar": None} if to_look else {"also": ["TICKSTOCKPL_PROCESS_TIMEOUT"]}),
        )
        @option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            default="info",
            help="Lowest level of log lines to write.",
        )
        @log_json_option
        @functools.wraps(command)
        def wrapped(  # one parameter for each option
            *args: Any,
            data_dir: Path | None,
            embedded: str,
            connect_timeout_s: float,
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
                        connect_timeout_s=connect_timeout_s,
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
    """Turn an error of ours into one line on stderr and an exit code: 2 for a usage error, else 1.

    A file that the user names and that cannot be read raises UsageError where it is read. Any other missing file or
    folder may exist again at the next start, so it ends with 1, and `tickstock keep` starts the command again. If the
    reader of our output ends first (`tickstock bars | head`), end with the exit code that SIGPIPE gives other tools.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout again when it exits, and would report the same error: give it a file that takes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except UsageError as e:
        click.echo(f"Error: {e}", err=True)
        sys.exit(2)
    except OSError as e:
        click.echo(f"Error: {_said_of_os(e)}", err=True)
        sys.exit(1)
    except NothingFound as e:
        click.echo(str(e), err=True)
        sys.exit(1)
    except TickStockError as e:
        click.echo(f"Error: {e}", err=True)
        sys.exit(1)
    except (psycopg.OperationalError, *AWAY) as e:  # a server went away during the command
        click.echo(f"Error: a server went away: {str(e).strip() or type(e).__name__}", err=True)
        sys.exit(1)
    except ResponseError as e:
        click.echo(f"Error: Redis cannot do this now: {_with_advice(e, redis.advice(e))}", err=True)
        sys.exit(1)
    except psycopg.Error as e:
        if e.sqlstate is None:  # the library refuses our call: a bug in this program
            raise
        click.echo(f"Error: PostgreSQL refuses a statement: {_with_advice(e, postgres.advice(e))}", err=True)
        sys.exit(1)


def _said_of_os(error: OSError) -> str:
    """Say what failed: a file or its disk, or the connection to a server."""
    if isinstance(error, _FILE_ERRORS):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if error.errno in _OF_FILES:
        return f"{error.filename or 'a file cannot be read or written'}: {os.strerror(error.errno)}"
    return f"a server went away: {str(error).strip() or type(error).__name__}"


def _with_advice(error: Exception, do: str) -> str:
    return f"{first_line(error)}: {do}" if do else first_line(error)


def content_of(file: Path) -> bytes:
    """Read a file that the user names. Raises UsageError."""
    try:
        return file.read_bytes()
    except OSError as e:
        raise UsageError(f"{file}: {e.strerror}") from e


def api_key(file: Path | None, *, needed: bool = True) -> str:
    """Read the vendor's key from a file or MASSIVE_API_KEY(_FILE). Never from an argument: others see those.

    Return '' if no key is given and none is needed. Raises UsageError.
    """
    key = content_of(file).decode().strip() if file else with_secrets(os.environ).get("MASSIVE_API_KEY", "").strip()
    if not key and (needed or file):
        raise click.UsageError("no API key: set MASSIVE_API_KEY, or name a file with --api-key-file")
    return key


METRICS_PORTS = {"worker": 9101, "producer": 9102, "bridge": 9103, "jobs": 9104, "api": 9105}  # by convention
_PORTS = ", ".join(f"{program} {port}" for program, port in METRICS_PORTS.items())


def metrics_options(command: F) -> F:
    """Add --metrics-port and --metrics-host, of every process of the fleet; the command gets a MetricsAddress."""

    @option(
        "--metrics-port",
        type=click.IntRange(0, 65_535),
        default=0,
        help=f"Port for /metrics, /healthz and /readyz; 0: do not serve them. By convention: {_PORTS}.",
    )
    @option("--metrics-host", default="127.0.0.1", help="Address for --metrics-port; 0.0.0.0: every address.")
    @functools.wraps(command)
    def wrapped(*args: Any, metrics_port: int, metrics_host: str, **kwargs: Any) -> Any:
        return command(*args, metrics=MetricsAddress(metrics_host, metrics_port), **kwargs)

    return wrapped  # type: ignore[return-value]  # the decorated function has the options' signature
