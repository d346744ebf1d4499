"""Moderation as a type checker sees it: checked by mypy, never run."""

from __future__ import annotations

from cometbot import Bot, ContextMessage, ModerationItem, Verdict
from cometbot.models import Attachment, Group, User
from cometbot.testing import BotClient

plain, likely, reasoned, later = Bot("plain"), Bot("likely"), Bot("reasoned"), Bot("later")


@plain.moderate
def check(item: ModerationItem) -> bool:
    sender: User = item.sender
    group: Group | None = item.group
    files: tuple[Attachment, ...] = item.attachments
    context: tuple[ContextMessage, ...] = item.context
    return bool(sender.uid and group and files and context[0].text)


@likely.moderate()
def estimate(item: ModerationItem) -> float:
    return 0.5


@reasoned.moderate
def judge(item: ModerationItem) -> bool | float | Verdict:
    return Verdict(check(item), estimate(item), reason="for a reason")


@later.moderate
async def judge_later(item: ModerationItem) -> Verdict:
    return Verdict(True)


verdict: Verdict = BotClient(plain).moderate("hi", context=["before", ("tom", "after")])


@plain.moderate  # type: ignore[type-var]
def wrong(item: ModerationItem) -> str:
    return "maybe"
