"""A process that does not stop in time says so, and ends."""

import subprocess
import sys

STUCK = """
import signal, threading
from tickstockpl.ops.process.logs import set_up_logs
from tickstockpl.ops.process.shutdown import Stop
set_up_logs(as_json=True)
stop = Stop(deadline_s=0.2)
print("ready", flush=True)
threading.Event().wait(120)
"""


def test_a_process_that_is_ended_at_its_deadline_says_so():
    with subprocess.Popen(
        [sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert '"event": "stopped at the deadline: the work was not finished"' in said
    assert '"seconds": 0.2' in said
