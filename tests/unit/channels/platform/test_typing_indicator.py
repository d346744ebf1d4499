"""That a bot is at work is said, said again while it lasts, and taken back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cometbot.channels.platform.typing_indicator import TypingIndicator
from cometbot.chat import Topic

HERE, THERE = Topic("platform", "helpdesk", "c1"), Topic("platform", "helpdesk", "c2")


class FakeFeed:
    def __init__(self) -> None:
        self.sent: list[tuple[str, bool]] = []
        self.texts: list[str] = []
        self.changed = threading.Condition()

    def publish_ephemeral(self, topic: Topic, kind: str, data: dict[str, Any]) -> None:
        with self.changed:
            self.sent.append((topic.id, data["on"]))
            self.texts.append(data["text"])
            self.changed.notify_all()


@pytest.fixture
def feed() -> FakeFeed:
    return FakeFeed()


@pytest.fixture
def typing(feed: FakeFeed) -> Iterator[TypingIndicator]:
    typing = TypingIndicator(feed, interval=0.05)  # type: ignore[arg-type]
    yield typing
    typing.close()


def test_it_is_over_when_the_last_of_several_works_is(feed: FakeFeed, typing: TypingIndicator) -> None:
    for topic, on in ((HERE, True), (HERE, True), (THERE, True), (HERE, False), (HERE, False), (THERE, False)):
        typing.update(topic, on)

    ends = [item for item in feed.sent if not item[1]]
    assert ends == [("c1", False), ("c2", False)]


def test_it_is_said_again_while_it_lasts_and_no_more_after_that(feed: FakeFeed, typing: TypingIndicator) -> None:
    typing.update(HERE, True)
    with feed.changed:
        assert feed.changed.wait_for(lambda: feed.sent.count(("c1", True)) >= 3, 5)
    typing.update(HERE, False)
    before = feed.sent.index(("c1", False))
    typing.update(THERE, True)
    with feed.changed:
        assert feed.changed.wait_for(lambda: feed.sent.count(("c2", True)) >= 3, 5)

    assert feed.sent[before + 1 :].count(("c1", True)) <= 1, "one repetition may have been on its way"


def test_status_lasts_until_another_or_the_end_of_the_work(feed: FakeFeed, typing: TypingIndicator) -> None:
    typing.set_status(HERE, "too early")
    typing.update(HERE, True)
    for text in ("searching…", "reading…", "", ""):
        typing.set_status(HERE, text)
    typing.set_status(HERE, "writing…")
    with feed.changed:
        assert feed.changed.wait_for(lambda: feed.texts.count("writing…") >= 3, 5)  # it is repeated
    typing.update(HERE, False)
    typing.update(HERE, True)
    shown = [text for index, text in enumerate(feed.texts) if index == 0 or text != feed.texts[index - 1]]
    assert shown == ["", "searching…", "reading…", "", "writing…", ""]
    assert feed.texts[-2:] == ["", ""]


def test_nothing_is_said_any_more_once_it_is_closed(feed: FakeFeed, typing: TypingIndicator) -> None:
    typing.update(HERE, True)
    [thread] = [item for item in threading.enumerate() if item.name == "cometbot-typing" and item.is_alive()][-1:]
    typing.close()
    thread.join(60)

    assert not thread.is_alive()
