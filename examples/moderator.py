"""A moderator of groups: deletes messages with unwanted words, warns, and removes who does not stop."""

from cometbot import Bot, Context, contains, in_group

bot = Bot("moderator", description="Keeps the group free of advertising.")


@bot.command("ban")
def ban(ctx: Context, user: str) -> str:
    if ctx.sender_scope not in ("owner", "admin", "moderator"):
        return "Only moderators can do that."
    ctx.ban(user.removeprefix("<@uid:").removesuffix(">"))
    return f"{user} is banned."


@bot.message(in_group & contains("casino", "jackpot"))
def moderate(ctx: Context) -> str:
    ctx.delete()
    key = f"warnings {ctx.sender_id}"
    ctx.state.set(key, ctx.state.get(key, 0) + 1, expires="1d")
    if ctx.state[key] < 3:
        return f"{ctx.sender}, no advertising, please. This is warning {ctx.state[key]}."
    del ctx.state[key]
    ctx.kick(ctx.sender)
    return f"{ctx.sender} was removed."
