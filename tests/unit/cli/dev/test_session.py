"""The bots of a run as agents of the simulated app, and the rules of its moderation that ask them."""

from __future__ import annotations

import pytest

from cometbot.cli.dev.session import update_agents, update_moderation_rules
from cometbot.simulator import Simulator

SERVED = {"shop": "http://127.0.0.1:9/agui/shop", "help-desk": "http://127.0.0.1:9/agui/help-desk"}
TOKEN = "t0ken"


@pytest.fixture
def simulator() -> Simulator:
    return Simulator()


def active(simulator: Simulator) -> list[str]:
    return [agent.name for agent in simulator.world.agents.values() if agent.is_active]


def test_each_bot_becomes_an_agent(simulator: Simulator) -> None:
    known = update_agents(simulator, {}, SERVED, TOKEN)
    assert list(known) == ["shop", "help-desk"]
    agent = simulator.world.agents[known["shop"]]
    assert (agent.name, agent.url, agent.headers) == ("Shop", SERVED["shop"], {"Authorization": "Bearer t0ken"})
    assert active(simulator) == ["Shop", "Help desk"]


def test_agents_stay_over_restarts_of_the_bot(simulator: Simulator) -> None:
    known = update_agents(simulator, {}, SERVED, TOKEN)
    assert update_agents(simulator, known, SERVED, TOKEN) == known
    assert len(simulator.world.agents) == 2


def test_bot_that_is_gone_is_not_called_until_it_is_back(simulator: Simulator) -> None:
    known = update_agents(simulator, {}, SERVED, TOKEN)
    known = update_agents(simulator, known, {"shop": SERVED["shop"]}, TOKEN)
    assert active(simulator) == ["Shop"]
    update_agents(simulator, known, SERVED, TOKEN)
    assert active(simulator) == ["Shop", "Help desk"]


def test_agents_are_registered_anew_after_a_reset(simulator: Simulator) -> None:
    known = update_agents(simulator, {}, SERVED, TOKEN)
    simulator.reset()
    assert update_agents(simulator, known, SERVED, TOKEN) != known
    assert active(simulator) == ["Shop", "Help desk"]


URLS = {name: f"http://127.0.0.1:9/cometchat/{name}/moderation" for name in ("shop", "help-desk")}
LOGIN = ("cometchat", "a-password")


def test_each_bot_that_moderates_is_asked(simulator: Simulator) -> None:
    update_moderation_rules(simulator, URLS, LOGIN)
    rules = list(simulator.world.moderation_rules.values())
    assert [(rule.name, rule.url, rule.credentials) for rule in rules] == [
        ("Judged by shop", URLS["shop"], LOGIN),
        ("Judged by help-desk", URLS["help-desk"], LOGIN),
    ]


def test_rule_that_was_switched_off_stays_off(simulator: Simulator) -> None:
    update_moderation_rules(simulator, URLS, LOGIN)
    simulator.enable_moderation_rule("dev-shop", enabled=False)
    update_moderation_rules(simulator, URLS, LOGIN)
    assert [rule.enabled for rule in simulator.world.moderation_rules.values()] == [False, True]


def test_rules_go_with_their_functions(simulator: Simulator) -> None:
    simulator.add_moderation_rule("Mine", "http://127.0.0.1:9/")
    update_moderation_rules(simulator, URLS, LOGIN)
    update_moderation_rules(simulator, {}, LOGIN)
    assert [rule.name for rule in simulator.world.moderation_rules.values()] == ["Mine"]
