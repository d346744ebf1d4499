"""Addresses of files: signed, without an end, and of no other server's secret."""

from __future__ import annotations

import pytest

from cometbot.file_links import FileLinks, find_file_url, make_url_name

ID = "0" * 31 + "7"
BASE = "https://bots.example.com"


@pytest.fixture
def links() -> FileLinks:
    return FileLinks(f"{BASE}/", lambda: "secret")


def test_an_address_leads_to_its_id(links: FileLinks) -> None:
    url = links.make_url(ID, "Bericht März.pdf")
    assert url.startswith(f"{BASE}/files/{ID}-")
    assert url.endswith("/Bericht_M_rz.pdf")
    assert links.find_id(url) == ID
    assert links.find_id(url.removeprefix(BASE)) == ID
    assert links.find_id(url.replace("bots.example.com", "moved.example.com/a")) == ID


def test_without_public_url_an_address_is_a_path() -> None:
    links = FileLinks("", lambda: "secret")
    assert links.make_url(ID, "a.png").startswith(f"/files/{ID}-")


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace(ID, "1" * 32),
        lambda url: url.replace("-", "-A", 1),
        lambda url: url + "?x=1",
        lambda url: url.replace("/files/", "/other/"),
        lambda url: "",
        lambda url: f"{url}\n",
        lambda url: url.replace("https", "ftp"),
    ],
)
def test_a_changed_address_leads_nowhere(links: FileLinks, change: object) -> None:
    assert callable(change)
    assert links.find_id(change(links.make_url(ID, "a.png"))) == ""


def test_an_address_of_another_secret_leads_nowhere(links: FileLinks) -> None:
    assert links.find_id(FileLinks(BASE, lambda: "other").make_url(ID, "a.png")) == ""


def test_the_secret_is_read_once() -> None:
    calls: list[int] = []

    def get_secret() -> str:
        calls.append(1)
        return "secret"

    links = FileLinks(BASE, get_secret)
    assert links.find_id(links.make_url(ID, "a")) == ID
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "a.png"),
        ("表.pdf", "file.pdf"),
        ("a b\tc.tar.gz", "a_b_c.tar.gz"),
        (".env", "env"),
        ("noext", "noext"),
        ("x" * 300 + ".txt", "x" * 80 + ".txt"),
        ("a.p?g", "a.pg"),
    ],
)
def test_the_name_in_an_address_is_plain_ascii(links: FileLinks, name: str, expected: str) -> None:
    assert make_url_name(name) == expected
    assert links.find_id(links.make_url(ID, name)) == ID


def test_an_address_is_found_in_a_text(links: FileLinks) -> None:
    url = links.make_url(ID, "a.png")
    assert find_file_url(f"Sales\n\nhttps://other.example\n\n{url}\nmore") == url
    assert find_file_url(f"({url})") == url
    assert find_file_url(f"see {url.removeprefix(BASE)}") == url.removeprefix(BASE)
    assert find_file_url("no https://other.example/files/x") == ""
