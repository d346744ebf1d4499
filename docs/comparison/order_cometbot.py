"""The order dialog in cometbot."""

from shop import create_order

from cometbot import Bot

bot = Bot("shop", description="Takes orders.")


@bot.command("order")
def order(ctx):
    size = ctx.ask("Which size?", choices=["S", "M", "L"])
    count = ctx.ask("How many?", type=int, validate=lambda n: 1 <= n <= 9, invalid_text="1 to 9, please.")
    order_id = ctx.once(lambda: create_order(size, count, ctx.idempotency_key()))
    return f"{count} of size {size}, order {order_id}. Thank you."
