"""Packages from npm that tests run against this project's servers."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, WAIT_TIMEOUT

MAX_AGE_SECONDS = 7 * 86400


def install_package(name: str, version: str) -> Path:
    """Return the folder with an npm package, installed once and kept in the checkout; ``latest`` for a week."""
    folder = ROOT / ".cache" / name.strip("@").replace("/", "-") / version
    package = folder / "node_modules" / name / "package.json"
    stamp = folder / "installed"
    is_fresh = stamp.exists() and (version != "latest" or time.time() - stamp.stat().st_mtime < MAX_AGE_SECONDS)
    if package.exists() and is_fresh:
        return folder
    npm = shutil.which("npm")
    assert npm, "npm is missing: apt-get install nodejs npm, or make test, which does it"
    folder.mkdir(parents=True, exist_ok=True)
    # npm looks for a package.json in the folders above, and would install there.
    (folder / "package.json").write_text('{"private": true}')
    words = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    ended = subprocess.run(
        [*words, f"{name}@{version}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=3 * WAIT_TIMEOUT,
        check=False,
    )
    if ended.returncode and not package.exists():
        pytest.fail(f"npm could not install {name}@{version}\n{ended.stdout}{ended.stderr}")
    stamp.touch()
    return folder


def find_node() -> str:
    """Return the path of node; the test fails without one."""
    node = shutil.which("node")
    assert node, "node is missing: apt-get install nodejs npm, or make test, which does it"
    return node
