"""Commands of ours as processes of their own, forked from one that has imported them.

Importing takes a second of processor time or more, and the suite starts a thousand processes: commands, and the workers
that a command starts.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from multiprocessing import forkserver, reduction
from pathlib import Path
from types import SimpleNamespace

from tickstockpl.ops.jobs import fleet

OPS = "tickstockpl.ops"
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["preloaded"])


class Process:
    """Runs `python -m MODULE` or a script, with an environment and two files for its output; named as Popen names it.

    program: a module's name, or the path of a script. stdin: a file; without one there is nothing to read.
    own_session: as Popen's start_new_session. cwd: the folder in which it runs, if it is another.
    """

    def __init__(self, arguments, *, env, stdout, stderr, program=OPS, stdin=None, own_session=False, cwd=None):
        files = {1: _Descriptor(stdout.fileno()), 2: _Descriptor(stderr.fileno())}
        if stdin is not None:
            files[0] = _Descriptor(stdin.fileno())
        arguments = list(map(str, arguments))
        self._process = _CONTEXT.Process(target=_run, args=(program, arguments, dict(env), files, own_session, cwd))
        _start(self._process)

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


def run(arguments, *, env, within_s, cwd=None):
    """Run a command to its end; return what it said, as subprocess.run does."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = Process(arguments, env=env, stdout=out, stderr=err, cwd=cwd)
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


def _start(process):
    """Start a process; the first one starts the server that forks them all, which finds our modules by this path."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parent), before)))
    try:
        process.start()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


class _Started(Process):
    """A worker or producer that a command starts, made as that command made it with subprocess.Popen."""

    def __init__(self, command, *, stderr, env, **how):
        assert command[:3] == [sys.executable, "-m", OPS], command
        assert how == {"start_new_session": True, "stdin": subprocess.PIPE}, how
        read_from, self.stdin = _pipe()
        self.stderr, write_to = _pipe()
        if stderr is None:
            os.dup2(2, write_to.fileno())  # into ours; the pipe stays empty
        with read_from, write_to:
            super().__init__(
                command[3:], env=env, stdin=read_from, stdout=sys.__stdout__, stderr=write_to, own_session=True
            )


def _pipe():
    """Return the two ends of a pipe: the one to read, the one to write."""
    read_from, write_to = os.pipe()
    return open(read_from, "rb"), open(write_to, "wb")  # noqa: PTH123  # of a descriptor; the caller's


def _run(program, arguments, env, files, own_session, cwd):
    for number, file in files.items():
        os.dup2(file, number)
    if cwd is not None:
        os.chdir(cwd)
    if own_session:
        os.setsid()
    os.environ.clear()
    os.environ.update(env)
    sys.argv[1:] = arguments
    # What a command starts is forked too. Where a test runs a real program, that starts real ones (test_demo).
    if sys.version_info < (3, 14):
        # By the server that forked this process: a new one would import all again. 3.14 has a key to it, which we lack.
        vars(forkserver._forkserver)["ensure_running"] = lambda: None
    forked = SimpleNamespace(Popen=_Started, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired)
    vars(fleet)["subprocess"] = forked
    if isinstance(program, Path):
        runpy.run_path(str(program), run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
