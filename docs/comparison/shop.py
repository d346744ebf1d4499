"""The shop of the three order bots: it creates an order over HTTP."""

from __future__ import annotations

import json
import os
from urllib.request import urlopen


def create_order(size: str, count: int, key: str) -> str:
    """Create an order, and return its id. A shop that knows idempotency keys creates one order for each ``key``."""
    body = json.dumps({"size": size, "count": count, "key": key}).encode()
    with urlopen(os.environ["SHOP_URL"], body, timeout=60) as answer:
        return str(json.load(answer)["id"])
