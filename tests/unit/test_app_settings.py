from __future__ import annotations

import pytest

from cometbot.errors import ConfigurationError
from cometbot.settings import Credentials, Secret, Settings

TWO_APPS = {
    "COMETCHAT_APPS": "shop_eu, Shop-US",
    "COMETCHAT_REGION": "eu",
    "COMETCHAT_API_KEY": "key",
    "COMETCHAT_RICH": "card",
    "COMETCHAT_APP_ID__SHOP_EU": "app1",
    "COMETCHAT_APP_ID__SHOP_US": "app2",
    "COMETCHAT_API_KEY__SHOP_US": "key2",
    "COMETCHAT_REGION__SHOP_US": "us",
}
LONG, OTHER = "a-long-enough-password", "another-long-password"


def read(**variables: str) -> Settings:
    return Settings.from_environment(TWO_APPS | variables, dotenv=None)


def refusal(**variables: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(**variables)
    return str(caught.value)


def test_each_app_has_its_own_values_and_the_others_from_all() -> None:
    eu, us = read().split_apps()
    assert (eu.cometchat_app, us.cometchat_app) == ("shop_eu", "shop-us")
    assert (eu.cometchat_base_url, us.cometchat_base_url) == (
        "https://app1.api-eu.cometchat.io/v3",
        "https://app2.api-us.cometchat.io/v3",
    )
    assert (eu.cometchat_api_key, us.cometchat_api_key) == (Secret("key"), Secret("key2"))
    assert (eu.cometchat_rich, us.cometchat_rich) == ("card", "card")
    assert not read().warnings


def test_settings_without_apps_are_those_of_the_only_one() -> None:
    settings = Settings.from_environment({"COMETCHAT_APP_ID": "app1"}, dotenv=None)
    assert settings.split_apps() == [settings]
    assert (settings.callback_path, settings.callback_paths) == ("/cometchat", ("/cometchat",))
    with pytest.raises(ConfigurationError, match="the app 'shop_eu' is not in COMETCHAT_APPS, which has: none"):
        settings.for_app("shop_eu")


def test_settings_of_one_app_are_not_split_again() -> None:
    eu = read().for_app("shop_eu")
    assert eu.split_apps() == [eu]


def test_app_with_the_id_of_before_keeps_its_paths() -> None:
    settings = read(COMETCHAT_APPS="old,shop_us", COMETCHAT_APP_ID="app0")
    old, us = settings.split_apps()
    assert (old.cometchat_app_id, old.callback_paths) == ("app0", ("/cometchat/old", "/cometchat"))
    assert us.callback_paths == ("/cometchat/shop_us",)


def test_missing_value_is_named_with_the_suffix() -> None:
    settings = Settings.from_environment({"COMETCHAT_APPS": "a,b", "COMETCHAT_APP_ID__A": "x"}, dotenv=None)
    with pytest.raises(ConfigurationError, match=r"^COMETCHAT_REGION__A is not set; .* COMETCHAT_API_KEY__A$"):
        _ = settings.for_app("a").cometchat_base_url
    with pytest.raises(ConfigurationError, match=r"^COMETCHAT_APP_ID__B is not set; "):
        _ = settings.for_app("b").cometchat_base_url


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"COMETCHAT_APPS": "a,b c"}, "COMETCHAT_APPS: expected names such as shop_eu,shop_us"),
        ({"COMETCHAT_APPS": "a" * 51}, "COMETCHAT_APPS: expected names such as"),
        ({"COMETCHAT_APPS": "a-b,a_b"}, "COMETCHAT_APPS: the apps a-b and a_b would share the variables"),
        (
            {"COMETCHAT_APP_ID__SHOP_US": "app1"},
            "COMETCHAT_APP_ID__SHOP_US: expected the id of another app than shop_eu",
        ),
        ({"COMETCHAT_RICH__SHOP_US": "html"}, "COMETCHAT_RICH__SHOP_US: expected text, interactive or card"),
        ({"COMETCHAT_WEBHOOK_USERNAME__SHOP_US": "cc"}, "COMETCHAT_WEBHOOK_PASSWORD is not; set both"),
    ],
)
def test_unusable_values_are_refused_with_their_variable(variables: dict[str, str], said: str) -> None:
    assert said in refusal(**variables)


def test_webhook_credentials_may_come_from_app_and_all() -> None:
    settings = read(
        COMETCHAT_WEBHOOK_USERNAME="cc", COMETCHAT_WEBHOOK_PASSWORD=LONG, COMETCHAT_WEBHOOK_PASSWORD__SHOP_US=OTHER
    )
    eu, us = settings.split_apps()
    assert (eu.cometchat_webhook_password, us.cometchat_webhook_password) == (Secret(LONG), Secret(OTHER))


def test_variable_of_an_unknown_app_is_ignored_with_a_warning() -> None:
    [warning] = read(COMETCHAT_RICH__SHOP_UA="text").warnings
    assert (
        warning
        == "COMETCHAT_RICH__SHOP_UA belongs to no app of COMETCHAT_APPS, which has shop_eu, shop-us; it is ignored"
    )
    [warning] = Settings.from_environment({"COMETCHAT_APP_ID__SHOP_EU": "app1"}, dotenv=None).warnings
    assert "which has none; it is ignored" in warning


def test_apps_that_are_switched_off_cause_no_warning() -> None:
    assert not read(COMETCHAT_APPS="").warnings


def test_unknown_region_of_an_app_is_named() -> None:
    [warning] = read(COMETCHAT_REGION__SHOP_US="uk").warnings
    assert warning.startswith("COMETCHAT_REGION__SHOP_US: expected us, eu, in, got 'uk'")


def test_app_and_bot_of_one_name_are_refused() -> None:
    said = "the app 'shop_eu' and the bot 'shop-eu' would share the variable COMETBOT_CALLBACK_USERNAME__SHOP_EU"
    with pytest.raises(ConfigurationError, match=said):
        read().check_bots(["helpdesk", "shop-eu"])


@pytest.mark.parametrize(
    ("apps", "bots", "said"),
    [
        ("a", ["b", "a__b"], "the bot 'a__b' and the bot 'b' in the app 'a' would share"),
        ("a__b,a", ["c", "b__c"], "the bot 'c' in the app 'a__b' and the bot 'b__c' in the app 'a' would share"),
    ],
)
def test_bot_in_an_app_shares_its_variables_with_no_other(apps: str, bots: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Settings.from_environment({"COMETCHAT_APPS": apps}, dotenv=None).check_bots(bots)


def login(name: str, suffix: str, password: str = LONG) -> dict[str, str]:
    return {
        f"COMETBOT_CALLBACK_USERNAME{suffix}": name,
        f"COMETBOT_CALLBACK_PASSWORD{suffix}": password,
    }


def test_most_particular_callback_credentials_count() -> None:
    settings = read(
        **login("all", ""),
        **login("bot", "__HELPDESK"),
        **login("app", "__SHOP_US"),
        **login("both", "__SHOP_US__HELPDESK"),
    )
    eu, us = settings.split_apps()
    found = [one.callback_credentials(bot) for one in (eu, us) for bot in ("news", "helpdesk")]
    assert [given.username for given in found if given] == ["all", "bot", "app", "both"]
    assert settings.check_bots(["helpdesk", "news"]) == ()
    [warning] = settings.check_bots(["news"])[:1]
    assert "belongs to no bot or app that is served here" in warning


def test_previous_password_belongs_to_the_credentials_of_its_suffix() -> None:
    settings = read(
        **login("all", ""),
        **login("app", "__SHOP_US"),
        COMETBOT_CALLBACK_PREVIOUS_PASSWORD=OTHER,
    )
    eu, us = settings.split_apps()
    assert eu.callback_credentials("helpdesk") == Credentials("all", Secret(LONG), Secret(OTHER))
    assert us.callback_credentials("helpdesk") == Credentials("app", Secret(LONG))
    changed = read(**login("app", "__SHOP_US"), COMETBOT_CALLBACK_PREVIOUS_PASSWORD__SHOP_US=OTHER)
    assert changed.for_app("shop-us").callback_credentials("helpdesk") == Credentials(
        "app", Secret(LONG), Secret(OTHER)
    )


def test_previous_password_counts_beside_credentials_in_code() -> None:
    settings = read(COMETBOT_CALLBACK_PREVIOUS_PASSWORD__HELPDESK=OTHER)
    found = settings.callback_credentials("helpdesk", "cc", LONG)
    assert found == Credentials("cc", Secret(LONG), Secret(OTHER))
    assert not settings.warnings


def test_weak_passwords_of_apps_are_named() -> None:
    warnings = read(
        **login("app", "__SHOP_US", "short"), COMETBOT_CALLBACK_PREVIOUS_PASSWORD__SHOP_US="shorter"
    ).warnings
    assert [warning.split()[0] for warning in warnings] == [
        "COMETBOT_CALLBACK_PASSWORD__SHOP_US",
        "COMETBOT_CALLBACK_PREVIOUS_PASSWORD__SHOP_US",
    ]


def test_secrets_of_apps_are_in_no_repr() -> None:
    settings = read(**login("app", "__SHOP_US"), COMETBOT_CALLBACK_PREVIOUS_PASSWORD__SHOP_US=OTHER)
    shown = repr(settings) + repr(settings.split_apps())
    assert "key2" not in shown
    assert LONG not in shown
    assert OTHER not in shown


def test_messages_judged_at_a_time_are_counted_over_the_apps() -> None:
    moderation = {"COMETCHAT_MODERATION_USERNAME": "cc", "COMETCHAT_MODERATION_PASSWORD": LONG}
    of_eu = Settings().cometchat_moderation_threads
    assert read(**moderation, COMETCHAT_MODERATION_THREADS__SHOP_US="4").max_moderations == of_eu + 4
    assert read().max_moderations == 0
