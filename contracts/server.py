"""The two servers that every process needs, by their names in metrics, logs and errors. Pure."""

from typing import Literal

Server = Literal["redis", "postgresql"]
SERVERS: tuple[Server, ...] = ("redis", "postgresql")
