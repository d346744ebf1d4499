"""Which addresses belong to the world."""

from __future__ import annotations

from pathlib import Path

import pytest

from cometbot.http.client import is_public, make_session


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.1.2.3",
        "10.0.0.1",
        "172.16.5.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "192.0.2.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "2002:a00:1::",
        "192.0.0.1",
        "192.0.0.9",
        "192.0.0.192",
        "192.88.99.1",
        "168.63.129.16",
        "100.100.100.200",
        "fd00:ec2::254",
        "64:ff9b::a83f:8110",
        "64:ff9b:1::1",
        "64:ff9b:1:ffff::a00:1",
        "::ffff:168.63.129.16",
        "2002:c000:1::",
        "2002:a83f:8110::",
        "fec0::1",
        "feff::1",
        "::7f00:1",
        "::a00:1",
        "::101:101",
        "::ffff:0:7f00:1",
        "::ffff:0:101:101",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "100::1",
        "5f00::1",
    ],
)
def test_local_and_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_global_addresses_are_public(address: str) -> None:
    assert is_public(address)


def test_a_session_verifies_against_the_file_of_ssl_cert_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "bundle.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert make_session(1).verify is True
    bundle.touch()
    assert make_session(1).verify == str(bundle)
