"""The reader of the documents' commands finds them all, and refuses what does not exist."""

import click
import pytest

from .commands import commands_of, parse

TEXT = """\
Run this:

```sh
tickstock migrate --partitions 16  # once
REDIS_URL=redis://h tickstock-worker \\
    --consumer c1 # one line

# only a comment
```

```
not a command
```

1. In a list:

   ```sh
   tickstock status --json
   ```
"""


def test_every_line_of_a_shell_block_is_a_command():
    found = commands_of(TEXT, "x.md")
    assert [(command.line, command.words) for command in found] == [
        (4, ["tickstock", "migrate", "--partitions", "16"]),
        (5, ["tickstock-worker", "--consumer", "c1"]),
        (18, ["tickstock", "status", "--json"]),
    ]


def test_a_command_is_read_by_the_parser_of_its_program():
    assert parse(["tickstock", "migrate", "--partitions", "16"])["partitions"] == 16
    assert parse(["tickstock-worker", "--consumer", "c1"])["consumer"] == "c1"


@pytest.mark.parametrize(
    "words",
    [
        ["tickstock", "mirgate"],
        ["tickstock", "migrate", "--partition-count", "16"],
        ["tickstock-worker", "--commit-ms", "soon"],
        ["tickstock-producer"],
    ],
)
def test_what_does_not_exist_is_refused(words):
    with pytest.raises(click.UsageError):
        parse(words)
