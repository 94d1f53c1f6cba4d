"""What the pages of the documents promise: links lead somewhere, commands exist, and each command is listed."""

import re
import shlex
from collections import Counter

import click
import pytest
from tickstockpl.ops.cli.tickstock_command import tickstock

from .commands import ROOT, is_ours, parse

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
SET_VARIABLE = re.compile(r"^[A-Z][A-Z0-9_]*=\S*$")
NOT_A_COMMAND_LINE = re.compile(r"[…|]|\.\.\.|<|\$\(|FLOW_ID")


def page_name(page):
    return page.relative_to(ROOT).as_posix()


def anchor_of(heading):
    """Return the anchor that the usual renderers give a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower())
    return kept.replace(" ", "-")


def anchors_of(page):
    """Return every anchor of a page; a heading that is there twice has a number the second time."""
    seen = Counter()
    anchors = set()
    for anchor in map(anchor_of, re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)):
        anchors.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return anchors


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_leads_to_a_page_and_a_heading_that_exist(page):
    broken = []
    for path, anchor in LINK.findall(page.read_text()):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors_of(target)):
            broken.append(f"{path}#{anchor}")
    assert broken == []


def test_anchors_are_those_of_the_headings(tmp_path):
    page = tmp_path / "a.md"
    page.write_text("# One `thing`, and another\n## Twice\n## Twice\n")
    assert anchors_of(page) == {"one-thing-and-another", "twice", "twice-1"}


def commands_on(page):
    """Return the words of each indented line that begins with a program of ours."""
    for line in page.read_text().splitlines():
        if line.startswith("    ") and not NOT_A_COMMAND_LINE.search(line.split("  #")[0]):
            try:
                words = shlex.split(line.split(" > ")[0], comments=True)
            except ValueError:  # an apostrophe: prose of a list
                continue
            while words and SET_VARIABLE.match(words[0]):
                words.pop(0)
            if words and words[-1] != "\\" and is_ours(words):
                yield words


@pytest.mark.parametrize("name", ["README.md", "docs/howto.md"])
def test_every_command_is_one_that_its_program_understands(name):
    found = list(commands_on(ROOT / name))
    assert len(found) >= 4
    for words in found:
        parse(words)


def test_every_command_is_listed():
    page = (ROOT / "docs" / "commands.md").read_text()
    listed = set(re.findall(r"^\| `tickstock ([a-z-]+)", page, re.MULTILINE))
    assert listed == set(tickstock.list_commands(click.Context(tickstock)))


def test_every_path_that_the_contributors_page_names_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = set(re.findall(r"`((?:contracts|db|producer|workers|ops|tests|docs)/[\w/.*-]+)`", text))
    assert len(paths) >= 20
    assert [path for path in paths if "/my_" not in path and not list(ROOT.glob(path))] == []
