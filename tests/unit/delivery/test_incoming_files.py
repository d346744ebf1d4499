"""Files of users: from their addresses, from addresses that contain them, and from what a bot has sent."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.delivery.incoming_files import read_file
from cometbot.errors import Rejected
from cometbot.models import Attachment
from cometbot.testing.fake_channel import FakeChannel


class NoFiles:
    """A server whose bots have sent nothing."""

    def open_url(self, url: str) -> None:
        return None


def read(url: str) -> bytes:
    files: Any = NoFiles()
    channel = FakeChannel()
    channel.files["https://files.example/a.txt"] = b"of a user"
    return read_file(files, channel, channel, Attachment(url), 100)


def test_other_addresses_are_loaded_by_the_channel() -> None:
    assert read("https://files.example/a.txt") == b"of a user"
    with pytest.raises(Rejected, match="no file"):
        read("https://files.example/b.txt")


@pytest.mark.parametrize(
    ("url", "content"),
    [
        ("data:text/plain;base64,aGVsbG8=", b"hello"),
        ("data:image/png;base64,aGVsbG8%3D", b"hello"),
        ("data:,a%20b", b"a b"),
        ("data:text/plain;charset=utf-8,gr%C3%BC", "grü".encode()),
        ("data:;base64,", b""),
    ],
)
def test_an_address_may_contain_the_file(url: str, content: bytes) -> None:
    assert read(url) == content


@pytest.mark.parametrize(("url", "text"), [("data:text/plain", "no data"), ("data:;base64,aGVsbG8", "no base64")])
def test_an_invalid_data_url_is_refused(url: str, text: str) -> None:
    with pytest.raises(Rejected, match=text):
        read(url)
