"""The two servers that every process needs, by the names that metrics, logs and errors give them. Pure."""

from typing import Literal

Server = Literal["redis", "postgresql"]
SERVERS: tuple[Server, ...] = ("redis", "postgresql")
