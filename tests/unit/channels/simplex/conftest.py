"""Fixtures with a fake CLI that has no socket."""

from __future__ import annotations

import pytest

from cometbot.testing import FakeSimplexCLI
from tests.unit.channels.simplex.fake_cli import FakeCLI


@pytest.fixture
def cli() -> FakeSimplexCLI:
    return FakeSimplexCLI(display_name="Echo bot")


@pytest.fixture
def fake_cli(cli: FakeSimplexCLI) -> FakeCLI:
    return FakeCLI(cli)
