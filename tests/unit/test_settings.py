from __future__ import annotations

import dataclasses
import ipaddress
import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.errors import ConfigurationError
from cometbot.settings import Credentials, Secret, Settings, variable_name, variable_suffix


def read(**variables: str) -> Settings:
    return Settings.from_environment(variables, dotenv=None)


def refusal(**variables: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(**variables)
    return str(caught.value)


def test_settings_of_an_empty_environment_are_the_defaults() -> None:
    assert read() == Settings()
    assert read().database_url == f"sqlite:///{Path.cwd()}/cometbot.db"
    assert read().channels == ("cometchat",)


def test_variables_of_every_kind_become_typed_values() -> None:
    settings = read(
        COMETBOT_BOT="shop:bot",
        COMETBOT_CHANNELS=" CometChat, chat_api ,",
        COMETBOT_THREADS="16",
        COMETBOT_HANDLER_TIMEOUT="0.5",
        COMETBOT_ALLOW_ANONYMOUS_CALLBACKS="Yes",
        COMETBOT_TRUSTED_PROXIES="10.0.0.0/8, ::1, Unix",
        COMETBOT_LOG_FORMAT="JSON",
        COMETBOT_DATA="/srv/bot",
        COMETCHAT_API_KEY="k3y",
        SIMPLEX_URL="wss://u:p@chat.example.com/",
    )
    assert settings.bot == "shop:bot"
    assert settings.channels == ("cometchat", "chat_api")
    assert (settings.threads, settings.handler_timeout) == (16, 0.5)
    assert settings.allow_anonymous_callbacks
    assert settings.trusted_proxies == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"), "unix")
    assert settings.log_format == "json"
    assert settings.data == Path("/srv/bot")
    assert settings.cometchat_api_key.reveal() == "k3y"
    assert settings.simplex_url == "wss://u:p@chat.example.com"


def test_every_path_is_absolute_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read(PLATFORM_CONFIG="config.json", COMETBOT_BIND="unix:socket", SIMPLEX_FILES="files")
    monkeypatch.chdir("/")
    assert settings.data == tmp_path / "cometbot-data"
    assert settings.database_url == f"sqlite:///{tmp_path}/cometbot.db"
    assert settings.platform_config == str(tmp_path / "config.json")
    assert settings.bind == f"unix:{tmp_path}/socket"
    assert settings.simplex_files == str(tmp_path / "files")


def test_the_folder_as_the_cli_names_it_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read(SIMPLEX_FILES="files", SIMPLEX_FILES_HERE="mnt/files")
    assert (settings.simplex_files, settings.simplex_files_here) == ("files", str(tmp_path / "mnt/files"))


def test_every_setting_that_holds_a_path_is_made_absolute() -> None:
    words = {"bind", "cert", "config", "data", "database", "dir", "file", "files", "folder", "path", "socket"}
    suspects = {name for name in Settings.__dataclass_fields__ if words & set(name.split("_"))}
    absolute = {"data", "database_url", "bind", "platform_config", "simplex_files", "simplex_files_here"}
    assert suspects - absolute == {"database_size", "simplex_accept_files", "simplex_file_limit", "socket_group"}


def test_a_unix_socket_without_a_trusted_proxy_is_warned_of() -> None:
    (warning,) = read(COMETBOT_BIND="unix:/run/socket").warnings
    assert "add unix to COMETBOT_TRUSTED_PROXIES" in warning
    assert read(COMETBOT_BIND="unix:/run/socket", COMETBOT_TRUSTED_PROXIES="unix").warnings == ()


def test_variables_that_are_empty_or_blank_count_as_not_set() -> None:
    assert read(COMETBOT_THREADS="", COMETBOT_LOG_LEVEL="  ", COMETBOT_CALLBACK_USERNAME="") == Settings()


def test_values_are_read_without_the_spaces_around_them() -> None:
    settings = read(COMETBOT_THREADS=" 4 ", COMETCHAT_API_KEY=" key\n")
    assert (settings.threads, settings.cometchat_api_key.reveal()) == (4, "key")


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [
        ("COMETBOT_THREADS", "0", "from 1 up, such as 8"),
        ("COMETBOT_THREADS", "many", "whole number"),
        ("COMETBOT_PROCESSES", "-1", "whole number"),
        ("COMETBOT_KEEP_DAYS", "1.5", "whole number"),
        ("COMETBOT_HANDLER_TIMEOUT", "0", "above 0"),
        ("COMETBOT_STOP_TIMEOUT", "nan", "above 0"),
        ("COMETBOT_BODY_TIMEOUT", "10s", "above 0"),
        ("COMETBOT_ALLOW_ANONYMOUS_CALLBACKS", "perhaps", "expected 1 or 0"),
        ("COMETBOT_LOG_FORMAT", "xml", "expected text or json"),
        ("COMETBOT_LOG_LEVEL", "loud", "expected debug, info, warning, error or critical"),
        ("COMETCHAT_RICH", "html", "expected text, interactive or card"),
        ("COMETBOT_TRUSTED_PROXIES", "10.0.0.0/8,proxy", "got 'proxy'"),
        ("COMETBOT_BIND", "8000", "HOST:PORT"),
        ("COMETBOT_BIND", "0.0.0.0:70000", "HOST:PORT"),
        ("COMETBOT_BIND", "unix:", "unix:/a/path"),
        ("COMETBOT_DATABASE_URL", "cometbot.db", "sqlite:///cometbot.db"),
        ("COMETBOT_DATABASE_URL", "postgres://u:secret@host/db", "postgresql://"),
        ("COMETBOT_PUBLIC_URL", "bots.example.com", "https://bots.example.com"),
        ("COMETBOT_PUBLIC_URL", "https://host:99999999", "URL with a host"),
        ("COMETCHAT_API_URL", "https://api.example.com", "/v3"),
        ("COMETCHAT_API_URL", "api.example.com/v3", "https://api.example.com/v3"),
        ("COMETCHAT_APP_ID", "app/../id", "dashboard"),
        ("COMETCHAT_REGION", "us.evil.example", "dashboard"),
        ("COMETBOT_CALLBACK_USERNAME", "a:b", "colon"),
        ("SIMPLEX_URL", "http://localhost", "ws or wss"),
        ("SIMPLEX_ALLOW_UNENCRYPTED", "maybe", "expected 1 or 0"),
        ("SIMPLEX_DISPLAY_NAME", "#helpdesk", "expected a plain name"),
        ("SIMPLEX_DISPLAY_NAME", "it's me", "expected a plain name"),
        ("SIMPLEX_DISPLAY_NAME", "a\nb", "expected a plain name"),
        ("SIMPLEX_GROUP_MESSAGES", "some", "expected addressed or all"),
        ("SIMPLEX_FILE_LIMIT", "1 MB", "whole number"),
        ("CHAT_API_WEBHOOK_URL", "nowhere", "https://"),
        ("CHAT_API_ORIGINS", "https://app.example.com,example.com", "https://app.example.com"),
        ("CHAT_API_ORIGINS", "https://app.example.com/path", "https://app.example.com"),
        ("CHAT_API_STREAMS", "0", "whole number from 1"),
    ],
)
def test_wrong_value_error_names_variable_and_fix(name: str, text: str, advice: str) -> None:
    sentence = refusal(**{name: text})
    assert sentence.startswith(f"{name}: ")
    assert advice in sentence


def test_wrong_database_url_error_hides_password() -> None:
    assert "s3cr3t" not in refusal(COMETBOT_DATABASE_URL="mysql://bot:s3cr3t@host/db")


@pytest.mark.parametrize(
    ("password", "advice"),
    [
        ("fir@S3CRET", "write @ in the password as %40"),
        ("fir@S3C/RET", "write @ in the password as %40"),
        ("fir/S3C@RET", "write @ in the password as %40"),
        ("fir@S3C?RET", "write @ in the password as %40"),
        ("fir@S3C#RET", "write @ in the password as %40"),
        ("fir@S3C:12", "write @ in the password as %40"),
        ("fir%S3CRET", "write % in the password as %25"),
        ("fir%", "write % in the password as %25"),
        ("fir%ffS3CRET", "% in it as %25"),
        ("fir%00S3CRET", "% in it as %25"),
        ("fir%0aS3CRET", "% in it as %25"),
        ("fir\udcffS3CRET", "in UTF-8"),
    ],
)
def test_ambiguous_password_in_url_is_refused_unseen(password: str, advice: str) -> None:
    for rest in ("@127.0.0.1:1/shop", "@/shop?host=/run", "@[::1]:5432/shop"):
        sentence = refusal(COMETBOT_DATABASE_URL=f"postgresql://bot:{password}{rest}")
        assert advice in sentence
        assert not [part for part in ("fir", "S3C", "RET", "bot") if part in sentence.replace("cometbot", "")]


@pytest.mark.parametrize(
    "rest",
    ["us/er:S3CRET@host/shop", "bot:S3CRET", "bot:S3CRET/shop", "host:0/shop", "host:99999/shop", "[::1]:S3CRET/shop"],
)
def test_a_server_url_that_cannot_be_meant_is_refused_unseen(rest: str) -> None:
    sentence = refusal(COMETBOT_DATABASE_URL=f"postgresql://{rest}")
    assert "S3CRET" not in sentence
    assert "write @" in sentence or "expected a port from 1 to 65535" in sentence


@pytest.mark.parametrize(
    "rest",
    [
        "u:a/b@host/shop",
        "u:a#b?c:d@host:5432/shop",
        "u:p%40ss%2F%25%C3%A4@[::1]:5432/shop",
        "/shop?host=/run/postgresql",
        "u@/shop?host=a:1&host=b:2",
        "u:[@host:/shop",
    ],
)
def test_whatever_leaves_no_doubt_about_the_password_is_taken(rest: str) -> None:
    assert read(COMETBOT_DATABASE_URL=f"postgresql://{rest}").database_url == f"postgresql://{rest}"


def test_origins_are_kept_as_browsers_write_them() -> None:
    text = "https://App.example.com:443, http://localhost:80, http://localhost:443, https://app.example.com"
    assert read(CHAT_API_ORIGINS=text).chat_api_origins == (
        "https://app.example.com",
        "http://localhost",
        "http://localhost:443",
    )


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:8000", "localhost:80", "unix:/run/bot.sock"])
def test_addresses_to_listen_on_are_taken_as_they_are(bind: str) -> None:
    assert read(COMETBOT_BIND=bind).bind == bind


@pytest.mark.parametrize("url", ["sqlite:////srv/bot.db", "postgresql://host/db", "postgresql+psycopg://u:p@host/db"])
def test_database_urls_of_known_databases_are_taken_as_they_are(url: str) -> None:
    assert read(COMETBOT_DATABASE_URL=url).database_url == url


@given(st.text(st.characters(exclude_characters="\0"), min_size=1))
def test_any_text_is_parsed_or_refused_with_variable_name(text: str) -> None:
    for name in [variable_name(each.name) for each in dataclasses.fields(Settings)]:
        assert name in (read_or_refusal(name, text) or name)


def read_or_refusal(name: str, text: str) -> str:
    try:
        read(**{name: text})
    except ConfigurationError as error:
        return str(error)
    return ""


def test_the_file_says_what_the_environment_does_not(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("COMETBOT_THREADS=3\nexport COMETBOT_BOT='shop:bot'\nCOMETCHAT_API_KEY=a$b${HOME}\n# a remark\n")
    settings = Settings.from_environment({"COMETBOT_THREADS": "5"}, file)
    assert (settings.threads, settings.bot) == (5, "shop:bot")
    assert settings.cometchat_api_key.reveal() == "a$b${HOME}"


def test_an_empty_variable_takes_back_what_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("COMETBOT_BOT=shop:bot\n")
    assert Settings.from_environment({"COMETBOT_BOT": ""}, file).bot == ""


def test_a_file_that_is_not_there_or_a_folder_changes_nothing(tmp_path: Path) -> None:
    assert Settings.from_environment({}, tmp_path / "nothing") == Settings()
    assert Settings.from_environment({}, tmp_path) == Settings()


def test_a_file_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"COMETBOT_BOT=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read as UTF-8"):
        Settings.from_environment({}, file)


def test_the_process_environment_is_read_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETBOT_BOT", "from:process")
    assert Settings.from_environment(dotenv=None).bot == "from:process"


def test_unknown_variable_warning_suggests_nearest_name() -> None:
    assert read(COMETBOT_THRAEDS="4").warnings == (
        "unknown setting COMETBOT_THRAEDS is ignored; did you mean COMETBOT_THREADS?",
    )
    assert read(COMETCHAT_REGION="us").warnings == ()
    assert read(COMETCHAT_REGION="euu", COMETCHAT_API_URL="https://chat.example.com/v3").warnings == ()
    assert read(COMETCHAT_REGION="euu").warnings == (
        "COMETCHAT_REGION: expected us, eu, in, got 'euu'; did you mean eu? "
        "With a wrong region CometChat cannot be reached, and replies wait.",
    )
    assert read(COMETCHAT_APPID="x").warnings == (
        "unknown setting COMETCHAT_APPID is ignored; did you mean COMETCHAT_APP_ID?",
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SIMPLEX_ALLOW_UNENCRYPED", "SIMPLEX_ALLOW_UNENCRYPTED"),
        ("CHAT_API_ENCRYPTION_KYE", "CHAT_API_ENCRYPTION_KEY"),
        ("PLATFORM_MESAGES", "PLATFORM_MESSAGES"),
    ],
)
def test_unknown_variable_of_a_channel_gives_a_warning(name: str, meant: str) -> None:
    assert read(**{name: "1"}).warnings == (f"unknown setting {name} is ignored; did you mean {meant}?",)


def test_variables_that_are_checked_elsewhere_give_no_warning() -> None:
    key = "a-long-encryption-key-for-one-bot-of-several"
    given = {"PLATFORM_SERVICE_X": "1", "PLATFORM_LIMITS_X": "1", "CHAT_API_ENCRYPTION_KEY__SHOP": key}
    assert read(**given).warnings == ()


def test_the_settings_of_simplex_are_read_from_their_variables() -> None:
    settings = read(
        SIMPLEX_PROFILE="Desk",
        SIMPLEX_DISPLAY_NAME="Help desk",
        SIMPLEX_ADDRESS="0",
        SIMPLEX_AUTO_ACCEPT="no",
        SIMPLEX_BUSINESS_ADDRESS="yes",
        SIMPLEX_WELCOME="Hi!",
        SIMPLEX_GROUP_MESSAGES="All",
        SIMPLEX_ACCEPT_FILES="0",
        SIMPLEX_FILES="/srv/cli",
        SIMPLEX_FILES_HERE="/mnt/cli",
        SIMPLEX_FILE_LIMIT="1000",
    )
    assert (settings.simplex_profile, settings.simplex_display_name) == ("Desk", "Help desk")
    assert (settings.simplex_address, settings.simplex_auto_accept) == (False, False)
    assert (settings.simplex_business_address, settings.simplex_welcome) == (True, "Hi!")
    assert (settings.simplex_group_messages, settings.simplex_accept_files) == ("all", False)
    assert (settings.simplex_files, settings.simplex_files_here, settings.simplex_file_limit) == (
        "/srv/cli",
        "/mnt/cli",
        1000,
    )


def test_variables_of_others_and_of_tests_give_no_warning() -> None:
    assert (
        read(CHAT_API_TOKEN="x", PLATFORM_BRANCH="main", COMETBOT_TEST_POSTGRES="x", HOME="/", COMET="x").warnings == ()
    )


@pytest.mark.parametrize("stem", ["COMETBOT_CALLBACK", "COMETCHAT_WEBHOOK", "COMETCHAT_MODERATION"])
def test_username_without_password_error_names_variable(stem: str) -> None:
    assert (
        refusal(**{f"{stem}_USERNAME": "cc"})
        == f"{stem}_USERNAME is set and {stem}_PASSWORD is not; set both or neither"
    )
    assert (
        refusal(**{f"{stem}_PASSWORD": "x"})
        == f"{stem}_PASSWORD is set and {stem}_USERNAME is not; set both or neither"
    )


def test_bot_username_without_password_error_names_variable() -> None:
    assert "COMETBOT_CALLBACK_PASSWORD__SHOP is not" in refusal(COMETBOT_CALLBACK_USERNAME__SHOP="cc")


def test_precedence_of_callback_credentials() -> None:
    general = {"COMETBOT_CALLBACK_USERNAME": "all", "COMETBOT_CALLBACK_PASSWORD": "1"}
    own = {"COMETBOT_CALLBACK_USERNAME__HELP_DESK": "own", "COMETBOT_CALLBACK_PASSWORD__HELP_DESK": "2"}
    assert read().callback_credentials("help-desk") is None
    assert read(**general).callback_credentials("help-desk") == Credentials("all", Secret("1"))
    assert read(**general).callback_credentials("help-desk", "code", "3") == Credentials("code", Secret("3"))
    assert read(**general, **own).callback_credentials("help-desk", "code", "3") == Credentials("own", Secret("2"))
    assert read(**general, **own).callback_credentials("shop") == Credentials("all", Secret("1"))


@pytest.mark.parametrize("half", [("user", ""), ("", "password")])
def test_half_of_credentials_in_code_is_refused(half: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="'shop' has only one of"):
        read().callback_credentials("shop", *half)


def test_a_username_in_code_with_a_colon_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match="callback_username of the bot 'shop': expected a username without a colon"
    ):
        read().callback_credentials("shop", "a:b", "password")


def test_bots_whose_variables_would_have_one_name_are_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"'help-desk' and the bot 'help_desk' would share .*__HELP_DESK; rename"
    ):
        Settings().check_bots(["help-desk", "shop", "help_desk"])


def test_credentials_of_a_bot_that_is_not_served_are_told() -> None:
    settings = read(COMETBOT_CALLBACK_USERNAME__HELPDSEK="a", COMETBOT_CALLBACK_PASSWORD__HELPDSEK="b" * 16)
    assert settings.warnings == ()
    assert settings.check_bots(["helpdsek"]) == ()
    assert settings.check_bots(["helpdesk"]) == (
        "COMETBOT_CALLBACK_USERNAME__HELPDSEK belongs to no bot that is served here; did you mean HELPDESK?",
    )


def test_base_url_defaults_to_app_id_and_region() -> None:
    parts = {"COMETCHAT_APP_ID": "123abc", "COMETCHAT_REGION": "eu"}
    assert read(**parts).cometchat_base_url == "https://123abc.api-eu.cometchat.io/v3"
    given_url = {"COMETCHAT_API_URL": "http://127.0.0.1:9000/v3/"}
    assert read(**parts, **given_url).cometchat_base_url == "http://127.0.0.1:9000/v3"


@pytest.mark.parametrize(
    ("parts", "missing"), [({}, "COMETCHAT_APP_ID"), ({"COMETCHAT_APP_ID": "123abc"}, "COMETCHAT_REGION")]
)
def test_base_url_error_names_missing_variable(parts: dict[str, str], missing: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{missing} is not set"):
        _ = read(**parts).cometchat_base_url


def test_no_secret_shows_in_the_representation_of_settings() -> None:
    names = [each.name for each in dataclasses.fields(Settings) if isinstance(getattr(Settings(), each.name), Secret)]
    assert len(names) >= 8
    variables = {variable_name(name): "hush-hush-hush-hush" for name in names}
    settings = read(
        **variables,
        COMETBOT_CALLBACK_USERNAME="cc",
        COMETCHAT_WEBHOOK_USERNAME="cc",
        COMETCHAT_MODERATION_USERNAME="cc",
        COMETBOT_CALLBACK_USERNAME__SHOP="cc",
        COMETBOT_CALLBACK_PASSWORD__SHOP="hush-hush-hush-hush",
        COMETBOT_DATABASE_URL="postgresql://bot:hush-hush@host/db",
        SIMPLEX_URL="wss://bot:hush-hush@host/",
    )
    assert "hush" not in f"{settings!r} {settings} {settings.bot_credentials} {vars(settings)['secret_key']}"
    assert all(getattr(settings, name).reveal() == "hush-hush-hush-hush" for name in names)


def test_a_secret_shows_only_to_who_asks(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("hush")
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("the secret is %s %r", secret, secret)
    assert "hush" not in caplog.text
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert secret.reveal() == "hush"


def test_secrets_compare_by_text() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert {Secret("a"), Secret("a")} == {Secret("a")}
    assert Secret("ä\udcff") == Secret("ä\udcff")
    assert bool(Secret("a"))
    assert not Secret()


@given(st.from_regex(r"[a-z0-9_-]{1,50}", fullmatch=True))
def test_bot_suffix_selects_its_credentials(name: str) -> None:
    suffix = variable_suffix(name)
    variables = {f"COMETBOT_CALLBACK_USERNAME__{suffix}": "u", f"COMETBOT_CALLBACK_PASSWORD__{suffix}": "p"}
    assert read(**variables).callback_credentials(name) == Credentials("u", Secret("p"))


def test_example_env_file_names_every_setting() -> None:
    text = (Path(__file__).parents[2] / ".env.example").read_text()
    shown = {
        line.lstrip("# ").partition("=")[0]
        for line in text.splitlines()
        if "=" in line and line.lstrip("# ")[:5] == "COMET"
    }
    known = {
        variable_name(each.name)
        for each in dataclasses.fields(Settings)
        if each.name not in ("app_values", "bot_credentials", "cometchat_app", "previous_passwords", "warnings")
    }
    assert shown <= known
    assert {name for name in known - shown if name.startswith(("COMETBOT_", "COMETCHAT_"))} == {
        "COMETBOT_CHANNELS",
        "COMETBOT_ALLOW_PRIVATE_WEBHOOKS",
    }


def test_the_example_files_defaults_are_the_defaults() -> None:
    text = (Path(__file__).parents[2] / ".env.example").read_text()
    lines = [line[2:] for line in text.splitlines() if line.startswith("# COMET") and not line.endswith("=")]
    shown = dict(line.split("=", 1) for line in lines)
    assert len(shown) > 10
    assert read(**shown) == Settings()


def test_tokens_of_agents_are_a_list() -> None:
    one, other = "0123456789abcdef" * 2, "fedcba9876543210" * 2
    assert read(AGUI_TOKEN=f" {one}, {other},").agui_token == (Secret(one), Secret(other))
    assert read().agui_token == ()
    assert one not in repr(read(AGUI_TOKEN=one))


@pytest.mark.parametrize("token", ["short", "x" * 31, "x" * 40 + ",short", "with a space, " + "x" * 40, "é" * 40])
def test_weak_token_of_agents_is_refused_without_being_shown(token: str) -> None:
    text = refusal(AGUI_TOKEN=token)
    assert text.startswith("AGUI_TOKEN: expected tokens of at least 32 printable ASCII characters")
    assert token not in text


@pytest.mark.parametrize("name", ["X User", "X-User:", "-X", "é", "X" * 62])
def test_name_that_no_header_has_is_refused(name: str) -> None:
    assert read(AGUI_USER_HEADER="X-User-Id").agui_user_header == "X-User-Id"
    assert refusal(AGUI_USER_HEADER=name).startswith("AGUI_USER_HEADER: expected the name of a header")


SECRETS = [
    "COMETBOT_SECRET_KEY",
    "CHAT_API_ENCRYPTION_KEY",
    "CHAT_API_ENCRYPTION_KEY__SHOP",
    "PLATFORM_ADMIN_SECRET_KEY",
    "PLATFORM_JWT_SECRET_KEY",
]


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("secret", ["a", "x" * 15, "  " + "x" * 15 + "  "])
def test_secret_under_16_characters_is_refused(name: str, secret: str) -> None:
    text = refusal(**{name: secret})
    assert text.startswith(f"{name}: expected at least 16 characters, got {len(secret.strip())}; set a random")
    assert "xxx" not in text


@pytest.mark.parametrize("name", SECRETS)
def test_secret_of_16_characters_is_accepted(name: str) -> None:
    assert read(**{name: "x" * 16}).warnings == ()


@pytest.mark.parametrize("stem", ["COMETBOT_CALLBACK", "COMETCHAT_WEBHOOK", "COMETCHAT_MODERATION"])
@pytest.mark.parametrize("length", [1, 15, 16])
def test_weak_password_gives_a_warning(stem: str, length: int) -> None:
    warnings = read(**{f"{stem}_USERNAME": "cc", f"{stem}_PASSWORD": "x" * length}).warnings
    text = f"{stem}_PASSWORD has fewer than 16 characters and can be guessed; set a longer random one"
    assert warnings == ((text,) if length < 16 else ())


@pytest.mark.parametrize("name", ["COMETBOT_CALLBACK_PASSWORD__SHOP", "CHAT_API_WEBHOOK_SECRET"])
def test_weak_password_of_one_bot_or_a_webhook_gives_a_warning(name: str) -> None:
    more = {"COMETBOT_CALLBACK_USERNAME__SHOP": "cc"} if name.endswith("SHOP") else {}
    (warning,) = read(**{name: "x", **more}).warnings
    assert warning.startswith(f"{name} has fewer than 16 characters")


def test_weak_password_in_code_gives_a_warning_where_it_is_used() -> None:
    assert "'shop' has fewer than 16" in read().weak_password_warning("shop", "x")
    assert read().weak_password_warning("shop", "x" * 16) == read().weak_password_warning("shop") == ""
    own = read(COMETBOT_CALLBACK_USERNAME__SHOP="a", COMETBOT_CALLBACK_PASSWORD__SHOP="b" * 16)
    assert own.weak_password_warning("shop", "x") == ""
