"""What the assistants share: a stand-in for a model in the format of OpenAI's messages, and a shop that refunds."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

INSTRUCTIONS = "You help the customers of a tea shop."
ORDERS = {17: "Earl Grey, 12.50 euros, sent on Monday"}


def stream_answer(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the texts and the calls of an answer, as a provider's client does."""
    last = messages[-1]
    if last["role"] == "tool":
        for word in f"I have looked, and this is what I found: {last['content']}.".split(" "):
            yield {"text": f"{word} "}
            time.sleep(0.3)
    elif "refund" in last["content"]:
        yield {"call": {"id": "c2", "name": "refund", "arguments": {"number": 17, "euros": 12.5}}}
    else:
        yield {"call": {"id": "c1", "name": "find_order", "arguments": {"number": 17}}}


def find_order(number: int) -> str:
    """Look up an order."""
    return ORDERS.get(number, "There is no such order")


def create_refund(number: int, euros: float, key: str) -> str:
    """Refund an order, and return the receipt. The shop makes one refund for each ``key``."""
    body = json.dumps({"number": number, "euros": euros, "key": key}).encode()
    with urlopen(os.environ["SHOP_URL"], body, timeout=60) as answer:
        return str(json.load(answer)["receipt"])
