"""Which spellings of an Authorization header open what."""

from __future__ import annotations

from base64 import b64encode

import pytest

from cometbot.http.auth import BasicCredentials, BearerTokens


def basic(user: str, password: str, encoding: str = "utf-8", scheme: str = "Basic ") -> str:
    return scheme + b64encode(f"{user}:{password}".encode(encoding)).decode()


@pytest.fixture
def credentials() -> BasicCredentials:
    return BasicCredentials({"helpdesk": ("cc", "s3cr3t"), "shop": ("laden", "grün:geheim")})


def test_the_usual_header_opens_its_own_name_only(credentials: BasicCredentials) -> None:
    assert credentials.matches("helpdesk", basic("cc", "s3cr3t"))
    assert not credentials.matches("shop", basic("cc", "s3cr3t"))
    assert not credentials.matches("unknown", basic("cc", "s3cr3t"))


@pytest.mark.parametrize("scheme", ["basic ", "BASIC ", "Basic   ", " Basic "])
def test_another_valid_spelling_of_the_scheme_opens_too(credentials: BasicCredentials, scheme: str) -> None:
    assert credentials.matches("helpdesk", basic("cc", "s3cr3t", scheme=scheme))


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_non_ascii_password_matches_in_both_encodings(credentials: BasicCredentials, encoding: str) -> None:
    assert credentials.matches("shop", basic("laden", "grün:geheim", encoding))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic Y2M6czNjcjN",
        "Bearer Y2M6czNjcjN0",
        "Y2M6czNjcjN0",
        "Basic \xff\xfe",
        basic("cc", "S3CR3T"),
        basic("cc", ""),
        basic("cc", "s3cr3t "),
        basic("", "cc:s3cr3t"),
    ],
)
def test_a_missing_malformed_or_wrong_header_opens_nothing(credentials: BasicCredentials, header: str) -> None:
    assert not credentials.matches("helpdesk", header)
    assert not credentials.matches_any(header)


def test_password_of_invalid_utf8_matches() -> None:
    credentials = BasicCredentials({"shop": ("cc", b"s\xff3".decode("utf-8", "surrogateescape"))})
    assert credentials.matches("shop", "Basic " + b64encode(b"cc:s\xff3").decode())
    assert not credentials.matches("shop", "Basic " + b64encode(b"cc:s?3").decode())


def test_opens_any_takes_every_configured_pair(credentials: BasicCredentials) -> None:
    assert credentials.matches_any(basic("cc", "s3cr3t"))
    assert credentials.matches_any(basic("laden", "grün:geheim"))


def test_previous_password_opens_too_and_is_told_apart() -> None:
    credentials = BasicCredentials({"shop": ("cc", "new"), "desk": ("cc", "new")}, {"shop": ("cc", "old")})
    assert [credentials.matches("shop", basic("cc", text)) for text in ("new", "old", "older")] == [True, True, False]
    assert [credentials.uses_previous("shop", basic("cc", text)) for text in ("new", "old", "older")] == [
        False,
        True,
        False,
    ]
    assert credentials.matches_any(basic("cc", "old"))
    assert not credentials.matches("desk", basic("cc", "old"))
    assert (credentials.has_previous("shop"), credentials.has_previous("desk")) == (True, False)


def test_previous_password_that_is_the_new_one_is_not_the_previous() -> None:
    credentials = BasicCredentials({"shop": ("cc", "new")}, {"shop": ("cc", "new")})
    assert not credentials.uses_previous("shop", basic("cc", "new"))


def test_credentials_are_falsy_only_without_any_entry(credentials: BasicCredentials) -> None:
    assert credentials
    assert "helpdesk" in credentials
    assert "unknown" not in credentials
    assert not BasicCredentials({})


def test_the_repr_holds_no_password(credentials: BasicCredentials) -> None:
    assert "s3cr3t" not in repr(credentials)


@pytest.mark.parametrize(
    ("authorization", "api_key", "expected"),
    [
        ("Bearer one", "", True),
        ("  bEARER   two ", "", True),
        ("", " two ", True),
        ("Basic one", "two", True),
        ("Bearer three", "", False),
        ("Basic one", "", False),
        ("one", "", False),
        ("Bearer", "", False),
        ("", "", False),
        ("Bearer \ud800", "é", False),
    ],
)
def test_bearer_tokens_stand_in_either_header(authorization: str, api_key: str, expected: bool) -> None:
    assert BearerTokens(["one", "two"]).matches(authorization, api_key) is expected
