"""Prints what an answer and a refund survive in cometbot and in Bolt: ``python -m benchmarks.survival.assistants``.

Bolt is installed from PyPI into an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.survival.bots import BOTS, PEERS, is_open, make_environment, serve_cometbot
from benchmarks.survival.local_server import JsonHandler, LocalServer
from benchmarks.survival.process import BotProcess
from benchmarks.survival.slack import SIGNING_SECRET, Slack
from benchmarks.survival.trial import QUIET, free_port
from cometbot.simulator import Simulator

BOLT = "slack-bolt==1.30.0"
MOMENTS = (
    "not killed",
    "while the answer is streamed",
    "while the approval waits",
    "when the shop has refunded, before the bot knows",
    "not killed, and two managers approve at once",
)


class RefundShop(LocalServer):
    """Makes refunds: ``keys`` are those of all requests. ``on_refund`` is called once, instead of an answer."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.on_refund: Callable[[], None] | None = None
        super().__init__(_RefundHandler)

    @property
    def url(self) -> str:
        """The address that refunds."""
        return f"{super().url}/refunds"


class _RefundHandler(JsonHandler):
    server: RefundShop

    def do_POST(self) -> None:
        self.server.keys.append(json.loads(self.read_body())["key"])
        if (on_refund := self.server.on_refund) is not None:
            self.server.on_refund = None
            on_refund()
            return
        time.sleep(1)
        self.answer({"receipt": "r1"})


@dataclass
class Side(ABC):
    """A bot on its platform. ``press`` lets the manager with this number approve."""

    process: BotProcess

    @abstractmethod
    def say(self, text: str) -> None: ...

    @abstractmethod
    def press(self, manager: int) -> None: ...

    @property
    @abstractmethod
    def texts(self) -> list[str]: ...

    @property
    @abstractmethod
    def has_open_card(self) -> bool: ...


@dataclass
class BoltSide(Side):
    slack: Slack
    url: str

    def say(self, text: str) -> None:
        self.slack.say(self.url, text)

    def press(self, manager: int) -> None:
        self.slack.press(self.url)

    @property
    def texts(self) -> list[str]:
        return self.slack.texts

    @property
    def has_open_card(self) -> bool:
        return self.slack.has_open_card


@dataclass
class CometbotSide(Side):
    simulator: Simulator

    def say(self, text: str) -> None:
        self.simulator.user("maria").say(text, to="assistant")

    def press(self, manager: int) -> None:
        [number] = set(re.findall(r"approve (\d+)", "".join(self._cards)))
        self.simulator.user(("tom", "ann")[manager]).say(f"<@uid:assistant> approve {number}", group="managers")

    @property
    def texts(self) -> list[str]:
        messages = self.simulator.messages(between=("maria", "assistant"))
        return [message.text for message in messages if message.sender == "assistant"]

    @property
    def has_open_card(self) -> bool:
        return bool(self._cards)

    @property
    def _cards(self) -> list[str]:
        return [text for item in self.simulator.messages("group_managers") if "approve" in (text := item.text)]


@contextmanager
def run_bolt(python: Path, folder: Path, shop: RefundShop) -> Iterator[BoltSide]:
    """Run the assistant of Bolt with its own server."""
    slack, port = Slack(), free_port()
    environ = {
        "PYTHONPATH": str(BOTS),
        "SHOP_URL": shop.url,
        "SLACK_API_URL": slack.url,
        "SLACK_BOT_TOKEN": "xoxb-token-of-trial",
        "SLACK_SIGNING_SECRET": SIGNING_SECRET,
    }
    process = BotProcess((str(python), str(PEERS / "serve_bolt.py"), str(port)), folder, environ, lambda: is_open(port))
    process.start()
    try:
        yield BoltSide(process, slack, f"http://127.0.0.1:{port}/slack/events")
    finally:
        process.kill()


@contextmanager
def run_cometbot(folder: Path, shop: RefundShop) -> Iterator[CometbotSide]:
    """Run the assistant of cometbot as ``cometbot serve`` does, on SQLite."""
    with Simulator() as simulator:
        process = serve_cometbot(simulator, "assistant", "assistant_cometbot", shop.url, folder)
        for uid in ("maria", "tom", "ann"):
            simulator.add_user(uid, uid.title())
        simulator.add_group("managers", members=["tom", "ann", "assistant"])
        process.start()
        try:
            yield CometbotSide(process, simulator)
        finally:
            process.kill()


def try_moment(moment: str, side: Side, shop: RefundShop) -> str:
    """Return what became of an answer or a refund, in words."""
    if "streamed" in moment:
        side.say("Where is order 17?")
        _wait_until(lambda: side.texts)
        side.process.restart()
    else:
        side.say("Please refund order 17.")
        _wait_until(lambda: side.has_open_card)
        if "waits" in moment:
            side.process.restart()
        if "shop" in moment:
            shop.on_refund = side.process.restart
        side.press(0)
        if "two" in moment:
            side.press(1)
    _wait_until_quiet(side, shop)
    if side.has_open_card and "shop" in moment:
        side.press(0)
        _wait_until_quiet(side, shop)
    return f"says {side.texts}; {len(shop.keys)} calls of the shop with {len(set(shop.keys))} keys"


def _wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("the bot did nothing for a minute")
        time.sleep(0.02)


def _wait_until_quiet(side: Side, shop: RefundShop) -> None:
    seen, since = None, time.monotonic()
    while time.monotonic() < since + QUIET:
        now = (side.texts, len(shop.keys), side.has_open_card)
        if now != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.survival.assistants")
    default = Path(tempfile.gettempdir(), "cometbot-bolt")
    parser.add_argument("--peers", type=Path, default=default, help="the folder of the environment with Bolt")
    parser.add_argument("--only", default="", help="only the bot with this name")
    options = parser.parse_args()
    python = make_environment(options.peers, [BOLT])
    print(f"cometbot {version('cometbot')}, {BOLT}\n", flush=True)
    for name in [name for name in ("cometbot", "Bolt") if options.only in name]:
        for moment in MOMENTS:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as text, closing_shop() as shop:
                folder = Path(text)
                run = run_cometbot(folder, shop) if name == "cometbot" else run_bolt(python, folder, shop)
                with run as side:
                    print(f"{name} | {moment} | {try_moment(moment, side, shop)}", flush=True)


@contextmanager
def closing_shop() -> Iterator[RefundShop]:
    """Run a shop."""
    shop = RefundShop()
    with closing(shop.socket):
        yield shop
        shop.shutdown()


if __name__ == "__main__":
    main()
