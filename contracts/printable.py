"""Text for a person: text from outside made safe to print, and long lists cut. Pure."""

from collections.abc import Iterable
from itertools import islice

_FEW = 8


def printable(text: object) -> str:
    r"""Return a text without characters that control a terminal or make a line look like another one.

    Control characters (C0 and C1), the marks that change the text direction, characters without a width, lone
    surrogates and line breaks are written as escapes: `\x1b`, `\u009b`, `\u202e`. JSON has no unescaped C0; there these
    are JSON escapes with the same meaning. A backslash is unchanged.
    """
    text = str(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def printable_lines(text: str) -> str:
    """Return a text of several lines, each of them printable; a tab stays one."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(c if c in "\n\t" or c.isprintable() else _escape(c) for c in text)


def first_few(items: Iterable[object]) -> str:
    """Return the first eight items, and `…` if there are more."""
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
