"""Write a file that appears under its name only when it is complete."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

_LONGEST_SUFFIX = 16  # of a name: the format of a picture follows from it


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Give a path to write to, beside the file; rename it to the file at the end. Raises OSError.

    If the block ends with an exception (Ctrl-C, a full disk), the file stays as it was. A file that is a link is
    replaced where the link leads to. A device or a pipe (/dev/stdout) is written directly.
    """
    target = file.resolve()
    if target.exists() and not target.is_file():
        yield file
        return
    part = target.with_name(f".part-{uuid4().hex[:12]}{target.suffix[-_LONGEST_SUFFIX:]}")
    try:
        yield part
        if target.exists():
            part.chmod(target.stat().st_mode & 0o7777)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
