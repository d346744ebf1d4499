"""Which spellings of an Authorization header open what."""

from __future__ import annotations

from base64 import b64encode

import pytest

from cometbot.http.auth import BasicCredentials


def basic(user: str, password: str, encoding: str = "utf-8", scheme: str = "Basic ") -> str:
    return scheme + b64encode(f"{user}:{password}".encode(encoding)).decode()


@pytest.fixture
def credentials() -> BasicCredentials:
    return BasicCredentials({"helpdesk": ("cc", "s3cr3t"), "shop": ("laden", "grün:geheim")})


def test_the_usual_header_opens_its_own_name_only(credentials: BasicCredentials) -> None:
    assert credentials.opens("helpdesk", basic("cc", "s3cr3t"))
    assert not credentials.opens("shop", basic("cc", "s3cr3t"))
    assert not credentials.opens("unknown", basic("cc", "s3cr3t"))


@pytest.mark.parametrize("scheme", ["basic ", "BASIC ", "Basic   ", " Basic "])
def test_another_valid_spelling_of_the_scheme_opens_too(credentials: BasicCredentials, scheme: str) -> None:
    assert credentials.opens("helpdesk", basic("cc", "s3cr3t", scheme=scheme))


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_password_with_a_colon_and_other_letters_opens_in_both_encodings(
    credentials: BasicCredentials, encoding: str
) -> None:
    assert credentials.opens("shop", basic("laden", "grün:geheim", encoding))


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
    assert not credentials.opens("helpdesk", header)
    assert not credentials.opens_any(header)


def test_a_password_of_bytes_that_are_no_utf_8_opens_as_these_bytes() -> None:
    credentials = BasicCredentials({"shop": ("cc", b"s\xff3".decode("utf-8", "surrogateescape"))})
    assert credentials.opens("shop", "Basic " + b64encode(b"cc:s\xff3").decode())
    assert not credentials.opens("shop", "Basic " + b64encode(b"cc:s?3").decode())


def test_opens_any_takes_every_configured_pair(credentials: BasicCredentials) -> None:
    assert credentials.opens_any(basic("cc", "s3cr3t"))
    assert credentials.opens_any(basic("laden", "grün:geheim"))


def test_credentials_are_falsy_only_without_any_entry(credentials: BasicCredentials) -> None:
    assert credentials
    assert "helpdesk" in credentials
    assert "unknown" not in credentials
    assert not BasicCredentials({})


def test_the_repr_holds_no_password(credentials: BasicCredentials) -> None:
    assert "s3cr3t" not in repr(credentials)
