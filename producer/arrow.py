"""Check that pyarrow is installed. It reads flat files and writes Parquet; a live fleet does not need its 170 MB.

Code that needs it calls `need_arrow` and imports it at the moment of use.
"""

from ..contracts.errors import UsageError

_WITHOUT = (
    "this installation reads no flat files and writes no Parquet ({}): `pip install pyarrow`, or, for the image of "
    "compose.yaml, TICKSTOCK_IMAGE_FLAT_FILES=yes in .env and `docker compose build`"
)


def need_arrow() -> None:
    """Look for pyarrow. Raises UsageError if it is not installed."""
    try:
        import pyarrow as pa  # noqa: F401, PLC0415
    except ImportError as e:
        raise UsageError(_WITHOUT.format(e)) from e
