import click
import pytest
from tickstockpl.ops.cli import bridge, every_command, producer, tickstock, worker
from tickstockpl.ops.cli.options import Number


def commands_below(command):
    """Return a command and all below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return [command, *(found for one in below for found in commands_below(one))]


def numbers(command):
    return [p for p in command.params if isinstance(p.type, click.FloatRange | click.types.FloatParamType)]


def test_no_option_of_any_command_takes_nan():
    found = [
        (c, option)
        for top in (tickstock, worker, bridge, producer)
        for c in commands_below(top)
        for option in numbers(c)
    ]
    assert len(found) > 20
    assert [f"{c.name} {option.name}" for c, option in found if not isinstance(option.type, Number)] == []


def test_every_command_is_found_under_one_name():
    assert set(every_command.commands) == {*tickstock.commands, "worker", "bridge", "producer"}


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan", "inf", "-inf", "1e400", "-1", "x"])
def test_a_number_that_no_bound_holds_is_refused(text):
    with pytest.raises(click.BadParameter):
        Number(0).convert(text, None, None)


def test_a_number_within_its_bounds_is_taken():
    assert Number(0, 10).convert("2.5", None, None) == 2.5
