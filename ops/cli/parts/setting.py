"""Makes options, of two kinds: settings of the fleet, which have a variable, and options typed for one run, without.

A setting takes its name and its default from the field of an options object, so that each default exists once.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.types import OptionHelpExtra

F = TypeVar("F", bound=Callable[..., Any])


class RenamedOption(click.Option):
    """An option that had another name. The former flag and variable still work; --help does not show them.

    former: the flag, as `--retention`. A variable that belongs to it comes last in `envvar`.
    """

    def __init__(self, *args: Any, former: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.former = former

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser know both flags."""
        super().add_to_parser(parser, ctx)
        parser.add_option(obj=self, opts=[self.former], dest=self.name, action="store", nargs=self.nargs)

    def get_help_extra(self, ctx: click.Context) -> "OptionHelpExtra":
        """Return what --help shows after the text, without the former variable."""
        extra = super().get_help_extra(ctx)
        if "envvars" in extra:
            extra["envvars"] = tuple(name for name in extra["envvars"] if name != variable_of(self.former))
        return extra


def variable_of(flag: str) -> str:
    """Return the variable of a flag: TICKSTOCK_COMMIT_MS of --commit-ms; of --detect/--no-detect TICKSTOCK_DETECT."""
    return "TICKSTOCK_" + flag.split("/", maxsplit=1)[0].lstrip("-").replace("-", "_").upper()


def typed(*names: str, former: str | None = None, **kwargs: Any) -> Callable[[F], F]:
    """Make an option without a variable: the environment of a fleet does not change what one command prints or deletes.

    former: the flag under which it was known before; it still works.
    """
    if former:
        kwargs |= {"cls": RenamedOption, "former": former}
    return click.option(*names, **kwargs)


def option(*names: str, former: str | None = None, also: Sequence[str] = (), **kwargs: Any) -> Callable[[F], F]:
    """Make an option with a variable: TICKSTOCK_ and the first name, if `envvar` names no other.

    former: the flag under which it was known before; it and its variable still work. also: variables of the
    application that mean the same. Of several variables that are set, the first counts: ours, the application's, the
    former one.
    """
    kwargs.setdefault("envvar", [variable_of(names[0]), *also, *([variable_of(former)] if former else [])])
    return typed(*names, former=former, show_envvar=True, **kwargs)


def default_of(options: type, field: str) -> Any:
    """Return the default of a field of an options object, a dataclass or a NamedTuple. Raises KeyError without one."""
    defaults: dict[str, Any] = getattr(options, "_field_defaults", {})
    if dataclasses.is_dataclass(options):
        defaults = {one.name: one.default for one in dataclasses.fields(options)}
    if defaults[field] is dataclasses.MISSING:
        raise KeyError(field)
    return defaults[field]


def setting(options: type, field: str, flag: str = "", **kwargs: Any) -> Callable[[F], F]:
    """Make the option of a field: --max-future-s of `max_future_s`, with the default that the options object has.

    flag: needed if it is not the name of the field, as for --detect/--no-detect. The command gets the value under the
    name of the field.
    """
    return option(flag or _flag_of(field), field, default=default_of(options, field), **kwargs)


def typed_setting(options: type, field: str, **kwargs: Any) -> Callable[[F], F]:
    """Make the option of a field without a variable."""
    return typed(_flag_of(field), field, **{"default": default_of(options, field)} | kwargs)


def _flag_of(field: str) -> str:
    return "--" + field.replace("_", "-")
