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
