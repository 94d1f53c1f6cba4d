"""What others wrote, as it may be shown to a human. Pure."""


def printable(text: object) -> str:
    r"""Return a text in which nothing is left that a terminal obeys, or that makes a line look like another one.

    Control characters (C0 and C1), the marks that turn the direction of what follows them, characters without a width,
    lone surrogates and line breaks are written as escapes: `\x1b`, `\x9b`, `\u202e`. A backslash stays as it is.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
