"""Every block that is neither Python nor commands names the test that uses it, or a reason from a closed list."""

from __future__ import annotations

import re
from collections import Counter

from .blocks import PAGES, ROOT, Block, blocks_of

REASONS = ("output", "a protocol's shape", "part of a larger file", "systemd", "real SimpleX CLI")
NOT_RUN = {"output": 6, "a protocol's shape": 3, "part of a larger file": 2, "systemd": 2, "real SimpleX CLI": 2}
"""The number of blocks that do not run, by reason. One more is a decision."""

PROXIES = ROOT / "tests/acceptance/proxies/conftest.py"
RECIPE = re.compile(r'recipes\("(\w+)", "([^"]+)"\)')

DOCS = "tests/integration/test_docs.py"
COMMANDS = "tests/acceptance/docs/test_commands.py"
ALERTS = "tests/integration/web/test_alerts.py"
PLACES = {
    "COMETBOT_BOT=bot:bot": f"{COMMANDS}::test_deploy",
    "COMETCHAT_APPS=": f"{COMMANDS}::test_apps",
    "[Unit]": f"{COMMANDS}::test_deploy",
    "# static configuration": f"{DOCS}::test_the_traefik_recipe_names_only_parts_that_it_defines",
    "apiVersion: networking.k8s.io/v1": f"{DOCS}::test_the_ingress_recipe_lets_streams_and_bodies_through",
    'import { Client } from "@botpress/chat";': f"{COMMANDS}::test_chat_api",
    'import { HttpAgent } from "@ag-ui/client";\n\nconst agent': f"{COMMANDS}::test_agui",
    'import { HttpAgent } from "@ag-ui/client";\nimport {\n  CopilotRuntime': "part of a larger file",
    "COMETBOT_ALERTS=": f"{ALERTS}::test_the_page_shows_setting_and_body_as_they_are",
    '{"text": "cometbot: shop': f"{ALERTS}::test_the_page_shows_setting_and_body_as_they_are",
    "COMETBOT_TRUSTED_PROXIES=": "part of a larger file",
    "RuntimeDirectory=": "systemd",
    "[Socket]": "systemd",
    "chat.example.com {": "real SimpleX CLI",
    "server {\n    listen 443 ssl;": "real SimpleX CLI",
    "$ cometbot simplex": "output",
    "Maria   hi": "output",
    "Earl Grey": "output",
    "Where to?": "output",
    "The answer is …": "output",
    "maria  /careless": "output",
}
"""The beginning of a block, and the test that uses it, or the reason for which none does."""


def other_blocks() -> list[Block]:
    """Return the blocks of all pages that are neither Python nor commands."""
    return [block for page in PAGES for block in blocks_of(page) if block.language not in ("python", "sh")]


def find_places(block: Block) -> list[str]:
    """Return the test that uses a block, or the reason for which none does; several where that is ambiguous."""
    if block.page.startswith("docs/protocols/"):
        return ["a protocol's shape"]
    recipes = [(language, begin.replace("\\n", "\n")) for language, begin in RECIPE.findall(PROXIES.read_text())]
    if block.page == "docs/proxies.md" and any(
        block.language == language and block.text.startswith(begin) for language, begin in recipes
    ):
        return ["make proxies"]
    return [place for begin, place in PLACES.items() if block.text.startswith(begin)]


def test_every_other_block_has_one_place() -> None:
    found = {(block.page, block.text): find_places(block) for block in other_blocks()}
    assert [block for block, places in found.items() if len(places) != 1] == []
    unused = [begin for begin in PLACES if not any(block.text.startswith(begin) for block in other_blocks())]
    assert unused == []


def test_the_tests_that_use_blocks_exist() -> None:
    for place in set(PLACES.values()) - set(REASONS):
        file, _, test = place.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text()


def test_other_blocks_that_do_not_run_are_counted() -> None:
    places = Counter(place for block in other_blocks() for place in find_places(block))
    assert {reason: places[reason] for reason in REASONS} == NOT_RUN
    assert places["make proxies"] >= 7
