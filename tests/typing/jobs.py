"""Jobs as a type checker sees them: checked by mypy, never run."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from cometbot import Bot, Card, Context, Conversation, Job, Router
from cometbot.sent import Sent

if TYPE_CHECKING:
    from typing_extensions import assert_type

bot = Bot("helper")
router = Router()


@bot.job
def ring(ctx: Context, what: str, to: Conversation | None = None) -> None:
    assert_type(ctx.send(what), Sent)
    assert_type(ctx.send(Card("Tea"), to=to), Sent)
    assert_type(ctx.send(what, at="2h"), Job)
    assert_type(ctx.send(what, to=to, at=timedelta(hours=2), name="tea"), Job)


@router.job(retries=3, timeout=60)
async def poll(ctx: Context) -> None:
    assert_type(ctx.later("2h", poll), Job)
    assert_type(ctx.later(datetime.now(timezone.utc), ring, name="tea", what="tea"), Job)
    assert_type(ctx.jobs(), list[Job])
    for job in ctx.jobs():
        assert_type(job.at, datetime)
        job.cancel()


router.every("5m", poll)
bot.include(router)
bot.every(timedelta(minutes=5), ring, name="often", missed="skip", what="tea")
bot.cron("0 9 * * 1-5", ring, tz="Europe/Berlin", what="coffee")
bot.at(datetime(2027, 1, 1, tzinfo=timezone.utc), ring, what="champagne")
bot.every("5m", ring, missed="never")  # type: ignore[arg-type]
