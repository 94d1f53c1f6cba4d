from importlib.resources import files

import click
import pytest
from click.testing import CliRunner
from tickstockpl.ops.cli.every_command import every_command
from tickstockpl.ops.cli.parts.lazy_group import LazyGroup
from tickstockpl.ops.cli.parts.options import Number, content_of, errors_end_the_command
from tickstockpl.version import __version__


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


def variables_of(command):
    """Return what each variable of a command, or of those below it, is read as."""
    found = {}
    for below in commands_below(command):
        for one in below.params:
            names = [one.envvar] if isinstance(one.envvar, str) else one.envvar or []
            for name in names:
                found.setdefault(name, set()).add((one.name, str(one.type)))
    return found


def test_every_variable_can_be_set_by_a_shell():
    assert [name for name in variables_of(every_command) if not name.isidentifier()] == []
    assert "TICKSTOCK_DETECT" in variables_of(every_command)
    assert "TICKSTOCK_REPAIR" in variables_of(every_command)


def test_a_producers_channel_is_nothing_that_another_command_reads():
    assert {name for name, _ in variables_of(every_command)["TICKSTOCK_CHANNEL"]} == {"channel"}
    assert "TICKSTOCK_WATCH_CHANNEL" in variables_of(every_command)


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
