"""Output of our commands, escaped: control sequences in foreign text have no effect on the terminal.

Printed text goes through `escaping`; output drawn by rich, with our colours, through the consoles made here.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from ...contracts.printable import printable_lines


class _Escaping:
    """A stream that writes unprintable characters as escapes. plain: the stream itself, for our own colours."""

    def __init__(self, plain: TextIO) -> None:
        self.plain = plain

    def write(self, text: str) -> int:
        return self.plain.write(printable_lines(text))

    def writelines(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


@contextmanager
def escaping() -> Iterator[None]:
    """Escape everything that this process prints from here on."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Escaping(sys.stdout), _Escaping(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


def plain(stream: TextIO) -> TextIO:
    """Return the stream without `escaping`: for callers that escape foreign text themselves."""
    return stream.plain if isinstance(stream, _Escaping) else stream


def make_console(file: Any = None, *, stderr: bool = False, **options: Any) -> Console:
    """Return a rich console that escapes the texts that it draws; its colours reach the terminal."""
    target = file or (sys.stderr if stderr else sys.stdout)
    console = Console(file=plain(target), **options)
    console.push_render_hook(_EscapingHook())
    return console


class _EscapingHook(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [Escaped(renderable) for renderable in renderables]


class Escaped:
    """Draws something, also a live picture, and escapes its texts; cursor movements are ours."""

    def __init__(self, drawn: ConsoleRenderable) -> None:
        self._drawn = drawn

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self._drawn, options):
            yield Segment(text if control else printable_lines(text), style, control)
