"""A group of commands. Each command is imported when it is used, because each needs another part of the program."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group whose command NAME is in the module `modules[NAME]` of `ops/cli`."""

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names."""
        return sorted(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's
        """Import a command; return None if no command has this name."""
        if cmd_name not in self.modules:
            return None
        module = import_module(f"..{self.modules[cmd_name]}", __package__)
        command: click.Command = getattr(module, _attribute(cmd_name))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name. Raises UsageError, which suggests similar names."""
        if args and args[0] not in self.modules and not ctx.resilient_parsing and not args[0].startswith("-"):
            close = get_close_matches(args[0], self.modules, n=3)
            meant = f" Did you mean {' or '.join(close)}?" if close else ""
            ctx.fail(f"No such command {args[0]!r}.{meant}")
        return super().resolve_command(ctx, args)


def _attribute(name: str) -> str:
    return name.replace("-", "_")
