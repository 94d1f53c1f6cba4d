import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import tickstockpl
from tickstockpl.db.world import REAL

ROOT = Path(tickstockpl.__file__).parent
RUFF = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
FROM_THE_WORLD = """\
import os
import random
import secrets
import time
from datetime import datetime
from uuid import uuid4

os.urandom(8)
datetime.now()
"""


def test_the_real_clocks_agree_with_each_other():
    first_s = REAL.monotonic_s()
    assert first_s <= REAL.monotonic_ns() / 1e9
    assert abs((REAL.utc_now() - datetime.now(UTC)).total_seconds()) < 5


def test_a_wait_ends_with_its_event_and_says_so():
    happened = threading.Event()
    assert REAL.wait(happened, 0.0) is False
    happened.set()
    assert REAL.wait(happened, 3600.0) is True


def test_a_token_is_a_positive_bigint_and_seldom_the_same():
    tokens = {REAL.token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(0 <= token < 1 << 63 for token in tokens)


@pytest.mark.skipif(RUFF is None, reason="ruff is not installed")
@pytest.mark.parametrize(
    ("file", "lines"),
    [
        ("workers/any.py", [2, 3, 4, 6, 8, 9]),
        ("workers/bridge/any.py", [2, 3, 4, 6, 8, 9]),
        ("producer/any.py", [2, 3, 4, 6, 8, 9]),
        ("contracts/any.py", [2, 3, 4, 6, 8, 9]),
        ("db/world.py", []),
        ("ops/any.py", []),
    ],
)
def test_ruff_refuses_time_and_chance_that_were_not_handed_in(file, lines):
    command = [RUFF, "check", "--select", "TID251", "--output-format", "concise", "--stdin-filename", file, "-"]
    ran = subprocess.run(command, cwd=ROOT, input=FROM_THE_WORLD, capture_output=True, text=True, check=False)
    assert [int(line.split(":")[1]) for line in ran.stdout.splitlines() if "TID251" in line] == lines
