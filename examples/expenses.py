"""A form, the approval of the managers, a receipt: ``cometbot dev examples/expenses.py:bot``."""

from dataclasses import asdict, dataclass, field

from cometbot import Bot, Context, Group

bot = Bot("expenses", description="Pays what the managers approve.")
managers = Group("managers")  # on another channel: Group("managers", channel="cometchat")


@dataclass
class Expense:
    """Your expense"""

    what: str
    euros: int = field(metadata={"label": "Euros", "min": 1, "max": 5000})


def pay(user: str, euros: int, key: str) -> str:
    return f"{user}-{euros}-{key}"  # here: your bank, which pays once for each key, and returns the receipt


@bot.command("expense", description="Get an expense back.")
def expense(ctx: Context) -> str:
    form = ctx.ask(Expense)
    approval = ctx.approve(f"Pay {form.euros} € to {ctx.sender}?", asdict(form), to=managers, timeout="3d")
    if not approval:
        return f"Your expense was {approval.status}."
    receipt = ctx.once(lambda: pay(ctx.sender.uid, form.euros, ctx.idempotency_key()))
    return f"{form.euros} € for {form.what}: receipt {receipt}. Approved by {approval.by}."
