"""The start of each program: Ctrl-C ends it with exit code 130, without output, also during the imports."""

import os
import signal
import sys
from importlib import import_module
from typing import NoReturn

_INTERRUPTED = 128 + signal.SIGINT


def tickstock() -> NoReturn:
    """Run `tickstock`."""
    _run("tickstock_command", "tickstock")


def api() -> NoReturn:
    """Run `tickstock-api`."""
    _run("fleet.api_command", "api")


def worker() -> NoReturn:
    """Run `tickstock-worker`."""
    _run("fleet.worker_command", "worker")


def bridge() -> NoReturn:
    """Run `tickstock-bridge`."""
    _run("fleet.bridge_command", "bridge")


def jobs() -> NoReturn:
    """Run `tickstock-jobs`."""
    _run("fleet.jobs_command", "jobs")


def producer() -> NoReturn:
    """Run `tickstock-producer`."""
    _run("fleet.producer_command", "producer")


def every_command() -> NoReturn:
    """Run `python -m tickstockpl.ops COMMAND`: all commands in one module, for processes that start others."""
    _run("every_command", "every_command")


def _run(module: str, name: str) -> NoReturn:
    try:
        interrupt = signal.getsignal(signal.SIGINT)
        if interrupt is signal.default_int_handler:  # not if the starter ignores it
            # Nothing has begun yet; and an interrupted import would print many lines.
            signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
        _leave_out_polars()
        from .cli.parts.run import run  # noqa: PLC0415  # imports take a while: they must come after the line above

        command = getattr(import_module(f".cli.{module}", __package__), name)
        signal.signal(signal.SIGINT, interrupt)
        run(command)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _leave_out_polars() -> None:
    """Hide polars from TA-Lib, which imports it if it is installed. Our programs give only arrays to TA-Lib.

    The import would take 0.2 s of each worker's start, as long as that of numpy.
    """
    sys.modules.setdefault("polars", None)  # type: ignore[arg-type]  # an import then raises ModuleNotFoundError
