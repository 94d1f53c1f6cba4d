"""Secrets as files, as container platforms provide them: NAME_FILE is the path of a file with the value of NAME."""

from collections.abc import Mapping
from pathlib import Path

from ...contracts.errors import UsageError

_SECRETS = (
    "REDIS_URL",
    "REDIS_PASSWORD",
    "DATABASE_URI",
    "DATABASE_URL",
    "TICKSTOCK_DB_PASSWORD",
    "MASSIVE_API_KEY",
)


def with_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which each NAME_FILE's content is NAME's value.

    Raises UsageError if both are set, or if the file is unreadable or empty.
    """
    whole = dict(environ)
    for name in _SECRETS:
        if place := environ.get(f"{name}_FILE"):
            if environ.get(name):
                raise UsageError(f"{name} and {name}_FILE are both set: unset one")
            whole[name] = _read(Path(place), f"{name}_FILE")
    return whole


def _read(file: Path, variable: str) -> str:
    try:
        said = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is not text"
        raise UsageError(f"{variable} names {file}: {why}") from e
    if not said:
        raise UsageError(f"{variable} names {file}, which is empty")
    return said
