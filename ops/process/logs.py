"""Set up structlog once per process: fixed phrases with fields, to stderr, so that stdout has only results."""

import logging
import sys

import structlog

from ...contracts.printable import printable, printable_lines
from .console import plain


def set_up_logs(*, level: str = "info", as_json: bool = False) -> None:
    """Log to stderr, as lines for people or as JSON."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *([] if as_json else [_printable_values]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(plain(sys.stderr)),
    )
    # Its warnings are about errors that it ignores because another error caused them; that one we log.
    logging.getLogger("psycopg").setLevel(logging.ERROR)


def _printable_values(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape control characters: fields may hold foreign text. JSON escapes them itself."""
    return {
        printable(name): printable_lines(value)
        if name == "exception"
        else value
        if _is_plain(value)
        else printable(value)
        for name, value in event.items()
    }


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float)
