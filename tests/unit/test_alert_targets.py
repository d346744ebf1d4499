"""The targets of alerts, as the settings name them."""

from __future__ import annotations

import pytest

from cometbot.alert_targets import AlertTarget, parse_alert_targets
from cometbot.errors import ConfigurationError
from cometbot.setting_values import Secret
from cometbot.settings import Settings

SLACK = "https://hooks.slack.com/services/T0/B0/secret"


def test_targets_are_urls_groups_and_users() -> None:
    text = f"{SLACK}, cometchat:group:ops-room,platform:user:ann,cometchat/shop_eu:group:ops,"
    assert parse_alert_targets(text) == (
        AlertTarget(url=Secret(SLACK)),
        AlertTarget(channel="cometchat", group="ops-room"),
        AlertTarget(channel="platform", user="ann"),
        AlertTarget(channel="cometchat", app="shop_eu", group="ops"),
    )


def test_a_url_is_shown_by_its_host_alone() -> None:
    (target,) = parse_alert_targets("https://user:password@alerts.example.org:8443/hook?key=secret")
    assert str(target) == "https://alerts.example.org:8443/…"
    assert "secret" not in repr(target)
    assert "password" not in repr(target)


def test_conversations_are_shown_as_they_are_written() -> None:
    text = "cometchat:group:ops,cometchat:user:ann,cometchat/shop_eu:group:ops"
    assert ",".join(map(str, parse_alert_targets(text))) == text


@pytest.mark.parametrize(
    "text",
    ["slack", "ftp://x.example/secret", "https://", "https://x:0/secret", "cometchat:room:ops", "cometchat:group:",
     "https://x.example/sec ret", "https://x.example/sécret", "https://x.example:port/secret"],
)  # fmt: skip
def test_another_text_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ConfigurationError, match="COMETBOT_ALERTS: expected https URLs or CHANNEL:group:ID") as raised:
        Settings.from_environment({"COMETBOT_ALERTS": text}, None)
    assert "secret" not in str(raised.value)


def test_settings_show_no_url() -> None:
    settings = Settings.from_environment({"COMETBOT_ALERTS": SLACK, "COMETBOT_ALERT_AFTER": "60"}, None)
    assert settings.alert_after == 60
    assert "T0" not in repr(settings)
