"""Reminds people, once or each morning: ``/remind 20 tea``, ``/daily vitamins``, ``/reminders``, ``/forget``."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from cometbot import Bot, Context, JobEvent

bot = Bot("reminders", description="I remind you of what you tell me.")


@bot.job
def remind_daily(ctx: Context, what: str) -> None:
    assert isinstance(ctx.event, JobEvent)
    ctx.send(f"Good morning. Time for {what}!")
    following = datetime.fromtimestamp(ctx.event.due_at, timezone.utc) + timedelta(days=1)
    ctx.later(following, remind_daily, name=what, what=what)


@bot.command("remind", description="Remind me in some minutes.")
def remind(ctx: Context, minutes: int, *, what: str) -> str:
    if not 0 < minutes <= 60 * 24 * 365:
        return "Minutes are a number from 1 to 525600."
    job = ctx.send(f"Time for {what}!", at=timedelta(minutes=minutes))
    return f"I remind you at {job.at:%H:%M} UTC."


@bot.command("daily", description="Remind me each morning at 7 (UTC).")
def daily(ctx: Context, *, what: str) -> str:
    now = ctx.now()
    today = datetime(now.year, now.month, now.day, 7, tzinfo=timezone.utc)
    first = today if today > now else today + timedelta(days=1)
    ctx.later(first, remind_daily, name=what, what=what)
    return f"Each morning, from {first:%A} on."


@bot.command("reminders", description="What I am going to remind you of.")
def reminders(ctx: Context) -> str:
    lines = [f"{job.at:%A %H:%M}: {job.arguments.get('what') or job.text}" for job in ctx.jobs()]
    return "\n".join(lines) or "Nothing."


@bot.command("forget", description="Forget all of it.")
def forget(ctx: Context) -> str:
    for job in ctx.jobs():
        job.cancel()
    return "Forgotten."
