"""Runs `tickstock repartition` and is killed at one of its steps: `killed_repartition.py STEP ARGUMENTS`.

STEP: before-commit, after-commit, half-cleared, cleared.
"""

import os
import signal
import sys

from tickstockpl.ops.cli.fleet.repartition_command import repartition as command
from tickstockpl.ops.jobs import repartition


def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def killed_before_commit():
    write = repartition._write

    def write_and_die(*values, **options):
        write(*values, **options)
        kill()

    repartition._write = write_and_die


def killed_half_cleared():
    clear = repartition.clear_redis

    def clear_and_die(client, *_):
        clear(client, 1, 1)  # the first partition alone
        kill()

    repartition.clear_redis = clear_and_die


if __name__ == "__main__":
    match sys.argv[1]:
        case "before-commit":
            killed_before_commit()
        case "after-commit":
            repartition.clear_redis = kill
        case "half-cleared":
            killed_half_cleared()
        case "cleared":
            repartition.end = kill
    command(sys.argv[2:])
