"""Text for a human: what others wrote made harmless, and long lists cut. Pure."""

from collections.abc import Iterable
from itertools import islice

_FEW = 8


def printable(text: object) -> str:
    r"""Return a text in which nothing is left that a terminal obeys, or that makes a line look like another one.

    Control characters (C0 and C1), the marks that turn the direction of what follows them, characters without a width,
    lone surrogates and line breaks are written as escapes: `\x1b`, `\u009b`, `\u202e`. Inside JSON, which has no C0 as
    it is, they are escapes of JSON and mean the same. A backslash stays as it is.
    """
    text = str(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def printable_lines(text: str) -> str:
    """Return a text of several lines, each of them printable; a tab stays one."""
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or c.isprintable() else _escape(c) for c in text)


def first_few(items: Iterable[object]) -> str:
    """Return the first eight items, and `…` where there are more."""
    some = [str(item) for item in islice(items, _FEW + 1)]
    return ", ".join([*some[:_FEW], *(["…"] if len(some) > _FEW else [])])


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return f"\\x{code:02x}"
    if code < 0x10000:
        return f"\\u{code:04x}"
    units = char.encode("utf-16-be")
    return f"\\u{units[:2].hex()}\\u{units[2:].hex()}"
