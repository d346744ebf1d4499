"""Parses clients' addresses, and groups them for rate limits."""

from __future__ import annotations

import ipaddress
import re

_ADDRESS_WITH_PORT_PATTERN = re.compile(r"\[([^]]*)\](?::\d+)?|([^:]*):\d+")


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address in ``text``, or None; a port and a zone, which some proxies add, are ignored.

    An IPv4 address that is written as IPv6 (``::ffff:192.0.2.7``) is returned as IPv4.
    """
    if match := _ADDRESS_WITH_PORT_PATTERN.fullmatch(text):
        text = match[1] or match[2] or ""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def rate_limit_address(address: str | None) -> str:
    """Return the key under which rate limits count ``address``; empty if the address is unknown.

    For IPv4 it is the address itself. For IPv6 it is the /64 network, because one household or machine has all
    addresses of such a network. A port is ignored. A text that is not an address is returned unchanged.
    """
    given = address or ""
    found = parse_address(given)
    if found is None:
        return given
    return str(found if found.version == 4 else ipaddress.ip_network((int(found), 64), strict=False))
