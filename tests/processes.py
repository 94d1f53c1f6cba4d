"""Commands of ours as processes of their own, forked from one that has imported them.

Importing takes most of a second of processor time, and the suite starts some hundred commands.
"""

import multiprocessing
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import tempfile
from multiprocessing import reduction
from pathlib import Path

from tickstockpl.ops import cli

OPS = "tickstockpl.ops"
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [__name__, *(f"{cli.__name__}.{module.name}" for module in pkgutil.iter_modules(cli.__path__))]
)


class Process:
    """Runs `python -m MODULE` or a script, with an environment and two files for its output; named as Popen names it.

    program: a module's name, or the path of a script.
    """

    def __init__(self, arguments, *, env, stdout, stderr, program=OPS):
        files = _Descriptor(stdout.fileno()), _Descriptor(stderr.fileno())
        self._process = _CONTEXT.Process(target=_run, args=(program, list(map(str, arguments)), dict(env), *files))
        self._process.start()

    @property
    def pid(self):
        return self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def wait(self, timeout=None):
        """Return the exit code; negative, a signal's number. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self.returncode

    def send_signal(self, number):
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def run(arguments, *, env, within_s):
    """Run a command to its end; return what it said, as subprocess.run does."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = Process(arguments, env=env, stdout=out, stderr=err)
        try:
            code = process.wait(within_s)
        finally:
            process.kill()
        said = [file.seek(0) or file.read().decode() for file in (out, err)]
    return subprocess.CompletedProcess(arguments, code, *said)


class _Descriptor:
    """A file descriptor on its way into the new process."""

    def __init__(self, number):
        self._number = number

    def __reduce__(self):
        return _arrived, (reduction.DupFd(self._number),)


def _arrived(descriptor):
    return descriptor.detach()


def _run(program, arguments, env, stdout, stderr):
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.environ.clear()
    os.environ.update(env)
    sys.argv[1:] = arguments
    if isinstance(program, Path):
        runpy.run_path(str(program), run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
