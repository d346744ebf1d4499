"""Parse callers' addresses, and group them as limits count them."""

from __future__ import annotations

import ipaddress
import re

_ADDRESS_WITH_PORT_PATTERN = re.compile(r"\[([^]]*)\](?::\d+)?|([^:]*):\d+")


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address in ``text``, None if there is none; a port and a zone, which some proxies add, are left out.

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
    """Return the address that limits count ``address`` under; empty where none is known.

    It is the address itself in IPv4. In IPv6 it is the network of 64 bits, since one household or machine has all
    addresses of such a network. A port does not count. A text that is no address is returned as it is.
    """
    given = address or ""
    found = parse_address(given)
    if found is None:
        return given
    return str(found if found.version == 4 else ipaddress.ip_network((int(found), 64), strict=False))
