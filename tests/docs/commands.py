"""The commands of our documents: found in their fenced blocks, read by our programs' own parsers, run in a shell.

for command in commands_in("operations.md"):  # every line of every ```sh block
    parse(command.words)                      # a program or an option that does not exist: an error
    with shell_on(servers, folder) as shell:
        shell.run(command)                    # ended, with the exit code 0
        shell.start(command)                  # or still at work: stopped at the end, with the exit code 0
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click
import processes
from tickstockpl.ops.cli.every_command import PROGRAMS, every_command
from tickstockpl.ops.cli.tickstock_command import tickstock

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent

_BLOCK = re.compile(r"^(?P<indent> *)```sh\n(?P<body>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_SETTING = re.compile(r"[A-Z][A-Z0-9_]*=")


class Command(NamedTuple):
    """One command of a document, its continued lines joined. section: the heading that it stands under."""

    document: str
    section: str
    line: int
    text: str

    @property
    def words(self):
        """The words as a shell splits them, without the variables that stand before the program."""
        return _words(self.text)

    def __str__(self):
        return f"{self.document}:{self.line}: {self.text}"


def _words(text):
    words = shlex.split(text, comments=True)
    while words and _SETTING.match(words[0]):
        words.pop(0)
    return words


def commands_in(document):
    """Return every command of the ```sh blocks of a document in docs/, in order."""
    return commands_of((ROOT / "docs" / document).read_text(), document)


def commands_of(text, document):
    """Return every command of the ```sh blocks of a text."""
    found = []
    for block in _BLOCK.finditer(text):
        line, first = text.count("\n", 0, block.start("body")) + 1, None
        section = ["", *_HEADING.findall(text, 0, block.start())][-1]
        joined = ""
        for part in block["body"].splitlines():
            first = first or line
            joined += part.strip().removesuffix("\\")
            if not part.endswith("\\"):
                if joined and not joined.startswith("#"):
                    found.append(Command(document, section, first, joined))
                first, joined = None, ""
            line += 1
        assert not joined, f"{document}:{first}: a line that never ends"
    return found


def is_ours(words):
    """Tell whether a command is one of our programs."""
    return words[0] == "tickstock" or words[0].removeprefix("tickstock-") in PROGRAMS


def parse(words):
    """Read a command of ours as its program would, and return what its options were read as.

    Variables of the environment count as they would there. Raises click's UsageError, which names what is wrong.
    """
    return _context(words).params


def variables_of(words):
    """Return the names of the variables that a command's options can be set by."""
    names = set()
    for option in _context(words).command.params:
        names |= {option.envvar} if isinstance(option.envvar, str) else set(option.envvar or ())
    return names


def _context(words):
    program, *arguments = words
    if program == "tickstock":
        return _inner_context(tickstock, program, arguments, None)
    command = every_command.get_command(click.Context(every_command), program.removeprefix("tickstock-"))
    return _inner_context(command, program, arguments, None)


def _inner_context(command, name, arguments, parent):
    with command.make_context(name, arguments, parent=parent) as context:
        words = [*context._protected_args, *context.args]
        if not isinstance(command, click.Group) or not words:  # a group may be a command too
            return context
        name, inner, rest = command.resolve_command(context, words)
        return _inner_context(inner, name, rest, context)


class Shell:
    """An operator's terminal: our programs are on the PATH, the servers' addresses in the environment.

    bash reads each command; one that is a program of ours alone is then forked, not started, which is 1.5 s cheaper.
    That the programs start by these names, tests/integration/test_compose.py and tests/fleet/test_honcho.py show.
    """

    def __init__(self, servers, folder, *, replacing=None, **environment):
        """Replacing: what stands in the documents, a port or a file's name, by what stands here instead."""
        self.folder = Path(folder)
        self.replacing = replacing or {}
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("REDIS", "DATABASE"))}
        addresses = {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url}
        self.environment = clean | addresses | environment | {"PATH": f"{BIN}:{os.environ['PATH']}"}
        self.started = {}

    def run(self, command, *, exit_code=0, within_s=300):
        """Run a command to its end, and return what it wrote; another exit code is an error."""
        text = self._here(command)
        if _is_ours_alone(text):
            arguments, environment = self._read(text)
            ran = processes.run(arguments, env=environment, within_s=within_s, cwd=self.folder)
        else:
            ran = subprocess.run(
                _in_bash(text), env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=within_s, check=False,
            )  # fmt: skip
        assert ran.returncode == exit_code, f"{command}\nexit {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def start(self, command):
        """Start a command of ours that goes on; `stop` ends it."""
        log = self.folder / f"{len(self.started)}.log"
        arguments, environment = self._read(self._here(command))
        with log.open("wb") as out:
            process = processes.Process(
                arguments, env=environment, stdout=out, stderr=out, own_session=True, cwd=self.folder
            )
        self.started[process] = command, log
        return process

    def stop(self, process, *, exit_code=0, within_s=300):
        """SIGTERM, as a service manager sends it; another exit code is an error."""
        command, log = self.started.pop(process)
        process.send_signal(signal.SIGTERM)
        code = process.wait(within_s)
        assert code == exit_code, f"{command}\nexit {code}\n{log.read_text()}"

    def logs(self):
        return "\n".join(f"-- {command}\n{log.read_text()}" for command, log in self.started.values())

    def end(self):
        """Leave no process."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _here(self, command):
        """Return a command's text with what stands here in place of what stands in the document."""
        text = command.text if isinstance(command, Command) else command
        for written, here in self.replacing.items():
            text = text.replace(written, str(here))
        return text

    def _read(self, text):
        """Let bash read a command of ours; return its arguments and its environment, to be forked (processes.py)."""
        end = re.match(rf"(?:{_SETTING.pattern}\S* +)*", text).end()
        settings, command = text[:end], text[end:]
        program, *arguments = self._ask_bash(f"printf '%s\\0' {command}")
        if program != "tickstock":
            arguments.insert(0, program.removeprefix("tickstock-"))
        if not settings:
            return arguments, self.environment
        return arguments, dict(line.split("=", 1) for line in self._ask_bash(f"{settings} env -0"))

    def _ask_bash(self, text):
        asked = subprocess.run(
            _in_bash(text), env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return asked.stdout.split("\0")[:-1]


def _is_ours_alone(text):
    return is_ours(_words(text)) and not re.search(r"[|;&<>]", text)


def _in_bash(text):
    return ["bash", "-euo", "pipefail", "-c", text]


@contextmanager
def shell_on(servers, folder, **how):
    """Give a shell whose processes end with the block."""
    shell = Shell(servers, folder, **how)
    try:
        yield shell
    finally:
        shell.end()
