import errno
import re
from dataclasses import MISSING, fields
from importlib.resources import files
from uuid import UUID

import click
import pytest
from click.testing import CliRunner
from tickstockpl.ops.cli.every_command import PROGRAMS, every_command
from tickstockpl.ops.cli.parts.lazy_group import LazyGroup
from tickstockpl.ops.cli.parts.options import Number, content_of, errors_end_the_command
from tickstockpl.ops.wiring.live_producer import LiveOptions
from tickstockpl.ops.wiring.producer import ProducerOptions
from tickstockpl.version import __version__
from tickstockpl.workers.bridge.bridge import BridgeOptions
from tickstockpl.workers.worker_options import WorkerOptions


def commands_below(command):
    """Return a command and all below it."""
    if not isinstance(command, click.Group):
        return [command]
    context = click.Context(command)
    below = [command.get_command(context, name) for name in command.list_commands(context)]
    return [command, *(found for one in below for found in commands_below(one))]


def numbers(command):
    return [p for p in command.params if isinstance(p.type, click.FloatRange | click.types.FloatParamType)]


def test_no_option_of_any_command_takes_nan():
    found = [(c, option) for c in commands_below(every_command) for option in numbers(c)]
    assert len(found) > 20
    assert [f"{c.name} {option.name}" for c, option in found if not isinstance(option.type, Number)] == []


def test_every_whole_number_of_an_option_has_an_upper_bound_but_a_seed():
    every = [(c, p) for c in commands_below(every_command) for p in c.params if isinstance(p, click.Option)]
    whole = [(c, p) for c, p in every if isinstance(p.type, click.IntRange | click.types.IntParamType)]
    assert len(whole) > 20
    unbounded = {f"{c.name} {p.name}" for c, p in whole if getattr(p.type, "max", None) is None and p.name != "seed"}
    assert unbounded == set()


def test_every_commands_file_is_named_in_a_group():
    groups = [command for command in commands_below(every_command) if isinstance(command, LazyGroup)]
    named = {module for group in groups for module in group.modules.values()}
    folder = files("tickstockpl.ops.cli")
    assert named == {
        f"{part.name}.{file.name.removesuffix('.py')}"
        for part in folder.iterdir()
        if part.is_dir()
        for file in part.iterdir()
        if file.name.endswith("_command.py")
    }


def options_below(command, words=""):
    """Return every option of a command and of all below it, each with the words that call its command."""
    found = [(words, option) for option in command.params if isinstance(option, click.Option)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found += options_below(command.get_command(context, name), f"{words} {name}".strip())
    return found


OPTIONS = [(words, option) for words, option in options_below(every_command) if words]


def variables_of(option):
    return [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())


def meanings():
    """Return what each variable means: the flags, type, default and help text of each option that reads it."""
    found = {}
    for _, option in OPTIONS:
        meaning = (option.opts[0], option.type.to_info_dict()["name"], str(option.default), option.help)
        for variable in variables_of(option):
            found.setdefault(variable, set()).add(meaning)
    return found


def test_a_variable_means_the_same_to_every_command():
    assert len(meanings()) > 60
    assert {variable: found for variable, found in meanings().items() if len(found) > 1} == {}


def test_a_command_for_one_task_reads_no_variable_but_those_of_programs_and_of_the_setup():
    programs = {v for words, option in OPTIONS if words.split()[0] in PROGRAMS for v in variables_of(option)}
    others = {v for words, option in OPTIONS if words.split()[0] not in PROGRAMS for v in variables_of(option)}
    # The former spellings of the days are those of `tickstock prune`.
    assert sorted(others - programs) == [
        "TICKSTOCK_CHUNK_DAYS",
        "TICKSTOCK_COMPRESS_AFTER_DAYS",
        "TICKSTOCK_DROP_AFTER_DAYS",
        "TICKSTOCK_EVENTS_DAYS",
        "TICKSTOCK_INDICATORS_DAYS",
        "TICKSTOCK_KEEP_DAILY_DAYS",
        "TICKSTOCK_NEEDED_SECRETS",
        "TICKSTOCK_PASSWORD_FILE",
        "TICKSTOCK_PATTERNS_DAYS",
        "TICKSTOCK_TIMESCALE",
    ]


def test_every_variable_can_be_set_by_a_shell():
    assert [name for name in meanings() if not name.isidentifier()] == []
    assert {"TICKSTOCK_DETECT", "TICKSTOCK_REPAIR"} <= set(meanings())


@pytest.mark.parametrize(
    ("command", "options"),
    [("worker", WorkerOptions), ("bridge", BridgeOptions), ("producer", ProducerOptions), ("producer", LiveOptions)],
)
def test_a_program_takes_its_defaults_from_its_options_object(command, options):
    """Except `speed`, `always_open` and trade rules, whose default depends on the source or the file."""
    fields = {name: default for name, default in defaults_in(options) if name not in ("speed", "always_open")}
    given = read(command)
    shared = fields.keys() & given.keys() - {"trade_rules"}
    assert len(shared) > 1
    assert {name: given[name] for name in shared} == {name: fields[name] for name in shared}
    # Options of their own make `keep`, `key` and `rules`; only tests set `gather_ms`.
    assert fields.keys() - given.keys() <= {"keep", "gather_ms", "key", "rules"}


def defaults_in(options):
    if hasattr(options, "_field_defaults"):
        return options._field_defaults.items()
    return [(field.name, field.default) for field in fields(options) if field.default is not MISSING]


FORMER = {
    "worker": {
        "--allowed-lateness": "--allowed-lateness-ms",
        "--hole-wait": "--missing-frames-wait-s",
        "--max-future": "--max-future-s",
        "--retention": "--retention-s",
    },
    "bridge": {"--universe": "--universe-name"},
    "producer": {"--feed-delay": "--feed-delay-s", "--max-lag": "--max-lag-ticks", "--silence": "--silence-s"},
    "audit": {"--max-future": "--max-future-s"},
    "flow": {"--follow": "--follow-s"},
    "keep": {"--stop-after": "--stop-after-s"},
    "prune": {
        "--events-days": "--keep-events-days",
        "--indicators-days": "--keep-indicators-days",
        "--patterns-days": "--keep-patterns-days",
    },
    "repartition": {"--wait": "--wait-s"},
    "send": {"--wait": "--wait-s"},
    "status": {"--every": "--every-s"},
}
NEEDED = {"producer": ("--source", "synthetic"), "flow": (str(UUID(int=0)),), "keep": ("true",), "repartition": ("4",)}
NEEDED["send"] = ("IBM", "1", "1")


def test_every_former_spelling_is_known_here():
    found = {}
    for words, option in OPTIONS:
        if former := getattr(option, "former", None):
            found.setdefault(words, {})[former] = option.opts[0]
    assert all(flags.pop("--connect-timeout") == "--connect-timeout-s" for flags in found.values() if len(flags) > 1)
    only_this = {words for words, flags in found.items() if flags == {"--connect-timeout": "--connect-timeout-s"}}
    assert len(only_this) > 20
    assert {words: flags for words, flags in found.items() if words not in only_this and flags} == FORMER


def read(command, flags=(), **variables):
    """Return what the options of a command are read as."""
    found = every_command.get_command(click.Context(every_command), command)
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("TICKSTOCK_SPOOL_DIR", raising=False)  # that of the whole run of the tests
        for name, value in variables.items():
            patched.setenv(name, value)
        return found.make_context(command, [*flags, *NEEDED.get(command, ())]).params


def variable(flag):
    return "TICKSTOCK_" + flag.removeprefix("--").replace("-", "_").upper()


PAIRS = [(command, former, new) for command, pairs in FORMER.items() for former, new in pairs.items()]
PAIRS.append(("bars", "--connect-timeout", "--connect-timeout-s"))


@pytest.mark.parametrize(("command", "former", "new"), PAIRS)
def test_the_former_spelling_of_an_option_means_the_same_and_help_shows_the_new_one(command, former, new):
    option = next(one for words, one in OPTIONS if words == command and one.opts[0] == new)
    assert read(command, [former, "5"])[option.name] == read(command, [new, "5"])[option.name]
    assert read(command, [new, "5"])[option.name] != read(command)[option.name]
    shown = CliRunner().invoke(every_command, [command, "--help"]).output
    flags = re.findall(r"--[a-z-]+", shown)
    assert (new in flags, former in flags) == (True, False)
    assert variable(former) not in re.findall(r"[A-Z_]+", shown)


@pytest.mark.parametrize(("command", "former", "new"), PAIRS)
def test_the_former_variable_of_a_setting_means_the_same_and_the_new_one_goes_before_it(command, former, new):
    option = next(one for words, one in OPTIONS if words == command and one.opts[0] == new)
    if not option.envvar or (command, new) == ("bridge", "--universe-name"):  # TICKSTOCK_UNIVERSE is the producer's
        assert variable(former) not in variables_of(option)
        return
    by_flag = read(command, [new, "5"])[option.name]
    assert read(command, **{variable(former): "5"})[option.name] == by_flag
    assert read(command, **{variable(new): "5", variable(former): "8"})[option.name] == by_flag


def test_a_producers_symbols_are_not_the_bridges_name_of_a_universe():
    assert read("bridge", TICKSTOCK_UNIVERSE="AAPL,MSFT")["universe_name"] == "live"
    assert read("bridge", TICKSTOCK_UNIVERSE_NAME="tech")["universe_name"] == "tech"


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan", "inf", "-inf", "1e400", "-1", "x"])
def test_a_number_that_no_bound_holds_is_refused(text):
    with pytest.raises(click.BadParameter):
        Number(0).convert(text, None, None)


def test_a_number_within_its_bounds_is_taken():
    assert Number(0, 10).convert("2.5", None, None) == 2.5


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError])
def test_a_file_that_fails_in_the_middle_of_a_run_may_be_there_again_at_the_next_start(error, capsys):
    with pytest.raises(SystemExit) as ended, errors_end_the_command():
        raise error(2, "is gone", "/spool/1.frames")
    assert ended.value.code == 1  # `keep` starts it again
    assert capsys.readouterr().err == "Error: /spool/1.frames: is gone\n"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device"),
         "a file cannot be read or written: No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "/out/a.csv"), "/out/a.csv: Read-only file system"),
        (ConnectionResetError(errno.ECONNRESET, "reset by peer"), "a server went away: [Errno 104] reset by peer"),
    ],
)  # fmt: skip
def test_a_full_disk_is_not_reported_as_a_server_that_went_away(error, says, capsys):
    with pytest.raises(SystemExit) as ended, errors_end_the_command():
        raise error
    assert (ended.value.code, capsys.readouterr().err) == (1, f"Error: {says}\n")


def test_a_file_that_the_user_names_and_that_is_not_there_is_a_usage_error(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended, errors_end_the_command():
        content_of(tmp_path / "key")
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"Error: {tmp_path / 'key'}: No such file or directory\n"


@pytest.mark.parametrize("program", ["worker", "bridge", "jobs", "producer"])
def test_every_program_says_its_version(program):
    said = CliRunner().invoke(every_command, [program, "--version"])
    assert (said.exit_code, said.output) == (0, f"tickstock-{program}, version {__version__}\n")


@pytest.mark.parametrize(
    ("typed", "says"),
    [("bar", "No such command 'bar'. Did you mean bars?"), ("stauts", "Did you mean status"), ("qqqq", "'qqqq'.\n")],
)
def test_a_command_that_does_not_exist_is_told_what_may_be_meant(typed, says):
    said = CliRunner().invoke(every_command, [typed])
    assert said.exit_code == 2
    assert says in said.stderr
