"""The config file: every field with its default, variables over it, and errors that name the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.channels.platform.config import (
    Config,
    FileLimits,
    JsonPath,
    Limits,
    MessageLimits,
    Service,
    Social,
    UserLimits,
    config_variables,
    find_lines,
    load_config,
)
from cometbot.errors import ConfigurationError

EVERYTHING = """{
  "service": {
    "name": "My bots",
    "description": "",
    "avatar": "https://example.com/a.png",
    "socials": [{"title": "Website", "url": "https://example.com"}]
  },
  "limits": {
    "user": {"minNicknameLength": 1, "maxNicknameLength": 2, "authTokenLifetime": 3},
    "message": {"maxBodyLength": 4, "maxAttachedFiles": 5},
    "file": {"maxImageSize": 6, "maxAudioSize": 7, "maxVideoSize": 8, "maxFileSize": 9}
  }
}"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "botyard.config.json"


def test_without_a_file_everything_has_its_default() -> None:
    config = load_config(None)

    assert config == Config()
    assert config.limits.user == UserLimits(3, 32, 10080)
    assert config.limits.message == MessageLimits(4096, 10)
    assert config.limits.file == FileLimits(2097152, 5242880, 26214400, 10485760)
    assert max(config.limits.file.by_kind.values()) == 26214400


def test_every_field_of_the_protocol_can_be_set(file: Path) -> None:
    file.write_text(EVERYTHING)

    assert load_config(file) == Config(
        Service("My bots", "", "https://example.com/a.png", (Social("Website", "https://example.com"),)),
        Limits(UserLimits(1, 2, 3), MessageLimits(4, 5), FileLimits(6, 7, 8, 9)),
    )


@pytest.mark.parametrize("text", ["{}", '{"limits": {}}', '{"limits": {"user": {"minNicknameLength": 0}}}'])
def test_a_limit_that_is_missing_or_0_has_its_default(file: Path, text: str) -> None:
    file.write_text(text)

    assert load_config(file) == Config()


def test_null_limits_and_byte_order_mark_are_accepted(file: Path) -> None:
    file.write_text('\ufeff{"service": {"socials": null}, "limits": {"file": {"maxFileSize": null}}}')

    assert load_config(file) == Config()


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "invalid JSON"),
        ('{\n  "service": {\n', 3, "invalid JSON"),
        ("[]", 1, "expected a JSON object, {…}"),
        ('{\n"servise": {}}', 2, "unknown field servise. Did you mean service?"),
        ('{"service": {\n\n"naem": "x"}}', 3, "unknown field service.naem. Did you mean service.name?"),
        ('{"service":\n5}', 1, "service must be an object, {…}"),
        ('{"limits":\n{"file": null}}', 2, "limits.file must be an object, {…}"),
        ('{"service": {"socials": [\n5]}}', 2, "service.socials.0 must be an object, {…}"),
        ('{"service": {\n"name": 5}}', 2, "service.name must be a text"),
        ('{"service": {"avatar":\n"javascript:1"}}', 1, "service.avatar must be an http or https URL"),
        ('{"service": {"socials": [\n{"title": "a"}]}}', 2, "service.socials.0.url is missing"),
        ('{"service": {"socials": [\n{"title": "", "url": "https://x.y"}]}}', 2, "title must not be empty"),
        ('{"service": {"socials": {}}}', 1, "service.socials must be a list of links, [{…}]"),
        ('{"limits": {"user":\n{\n"minNicknameLength": "3"}}}', 3, "minNicknameLength must be a whole number"),
        ('{"limits": {"user": {\n"minNicknameLength": 1.5}}}', 2, "minNicknameLength must be a whole number"),
        ('{"limits": {"user": {\n"minNicknameLength": true}}}', 2, "minNicknameLength must be a whole number"),
        ('{"limits": {"user": {\n"minNicknameLength": -1}}}', 2, "or 0 for the default"),
        ('{"limits": {"user": {\n"minNicknameLength": 33}}}', 2, "must not be more than maxNicknameLength"),
        ('{"limits": {"user": {"authTokenLifetime":\n99999999}}}', 1, "at most ten years"),
        ('{"limits": {"message": {\n"maxBodyLength": 99999999}}}', 2, "at most 1048576 bytes"),
        ('{"limits": {"message": {\n"maxAttachedFiles": 101}}}', 2, "at most 100"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(file: Path, text: str, line: int, says: str) -> None:
    file.write_text(text)

    with pytest.raises(ConfigurationError) as caught:
        load_config(file)
    assert str(caught.value).startswith(f"{file}, line {line}: ")
    assert says in str(caught.value)
    assert "{{" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .+: No such file"):
        load_config(file)
    file.write_bytes(b'{"service": {"name": "\xff"}}')
    with pytest.raises(ConfigurationError, match="expected UTF-8"):
        load_config(file)
    file.write_text("[" * 200_000)
    with pytest.raises(ConfigurationError, match="invalid JSON"):
        load_config(file)


def test_each_text_and_number_has_a_variable() -> None:
    assert set(config_variables()) == {
        "PLATFORM_SERVICE_NAME",
        "PLATFORM_SERVICE_DESCRIPTION",
        "PLATFORM_SERVICE_AVATAR",
        "PLATFORM_LIMITS_USER_MIN_NICKNAME_LENGTH",
        "PLATFORM_LIMITS_USER_MAX_NICKNAME_LENGTH",
        "PLATFORM_LIMITS_USER_AUTH_TOKEN_LIFETIME",
        "PLATFORM_LIMITS_MESSAGE_MAX_BODY_LENGTH",
        "PLATFORM_LIMITS_MESSAGE_MAX_ATTACHED_FILES",
        "PLATFORM_LIMITS_FILE_MAX_IMAGE_SIZE",
        "PLATFORM_LIMITS_FILE_MAX_AUDIO_SIZE",
        "PLATFORM_LIMITS_FILE_MAX_VIDEO_SIZE",
        "PLATFORM_LIMITS_FILE_MAX_FILE_SIZE",
    }


def test_a_variable_goes_before_the_file(file: Path) -> None:
    file.write_text(EVERYTHING)
    config = load_config(
        file,
        {"PLATFORM_SERVICE_NAME": " Ours ", "PLATFORM_LIMITS_FILE_MAX_FILE_SIZE": "77", "PLATFORM_SERVICE_AVATAR": ""},
    )

    assert (config.service.name, config.limits.file.max_file_size, config.limits.file.max_video_size) == ("Ours", 77, 8)
    assert config.service.avatar == "https://example.com/a.png"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PLATFORM_LIMITS_FILE_MAX_FILE_SIZE", "many", "PLATFORM_LIMITS_FILE_MAX_FILE_SIZE: .*must be a whole number"),
        ("PLATFORM_LIMITS_FILE_MAX_FILE_SIZE", "-5", "PLATFORM_LIMITS_FILE_MAX_FILE_SIZE: .*or 0 for the default"),
        ("PLATFORM_SERVICE_NAM", "x", "unknown setting PLATFORM_SERVICE_NAM.*Did you mean PLATFORM_SERVICE_NAME"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load_config(None, {name: value})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def paths(value: Any, before: JsonPath = ()) -> set[JsonPath]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {before}.union(*(paths(item, (*before, name)) for name, item in inner))


def test_every_member_has_the_line_of_its_name() -> None:
    text = '{\n  "a": {"b": [1,\n 2], "c: {": "}\\"\\n"},\n\n  "d"\n: null}'

    assert find_lines(text) == {
        (): 1,
        ("a",): 2,
        ("a", "b"): 2,
        ("a", "b", 0): 2,
        ("a", "b", 1): 3,
        ("a", "c: {"): 3,
        ("d",): 5,
    }


@given(JSON)
def test_everything_in_any_json_has_a_place(value: Any) -> None:
    assert set(find_lines(json.dumps(value, indent=1))) == paths(value)


def test_nothing_is_nowhere() -> None:
    assert find_lines("") == {}
