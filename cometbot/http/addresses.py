"""Callers' addresses, as limits count them."""

from __future__ import annotations

import ipaddress
import re

_WITH_PORT = re.compile(r"\[([^]]*)\](?::\d+)?|([^:]*):\d+")


def counted_address(address: str | None) -> str:
    """Return the address that limits count ``address`` under; empty where none is known.

    It is the address itself in IPv4. In IPv6 it is the network of 64 bits, since one household or machine has all
    addresses of such a network. A port, which some proxies add, does not count.
    """
    given = address or ""
    if match := _WITH_PORT.fullmatch(given):
        given = match[1] or match[2] or ""
    try:
        found = ipaddress.ip_address(given.partition("%")[0])
    except ValueError:
        return given
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found), 64), strict=False))
