"""A shop with a bot in it: the shop's own view tells a customer that the order was shipped."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from cometbot import Bot, Button, Card, Context
from cometbot.web import create_app


@dataclass
class Order:
    customer: str
    is_shipped: bool = False


orders = {4711: Order("maria")}

shop = Flask(__name__)
bot = Bot("shop", description="Knows your orders.")


@shop.post("/orders/<int:number>/shipped")
def shipped(number: int) -> tuple[dict[str, bool], int]:
    order = orders.get(number)
    if order is None:
        return {"shipped": False}, 404
    order.is_shipped = True
    notice = Card("Your order is on its way", f"Order {number}", buttons=[Button("Where is it?", "track", str(number))])
    bot.send(user=order.customer, message=notice)
    return {"shipped": True}, 200


@bot.command("track", description="Where is my order?")
@bot.action("track")
def track(ctx: Context, number: int) -> str:
    order = orders.get(number)
    if order is None or order.customer != ctx.sender.uid:
        return f"You have no order {number}."
    return "It is on its way." if order.is_shipped else "It is being packed."


def make_site() -> Flask:
    """The shop, with the bot's callback at ``/bots/cometchat/shop``: ``gunicorn "examples.shop:make_site()"``."""
    shop.wsgi_app = DispatcherMiddleware(shop.wsgi_app, {"/bots": create_app(bot)})  # type: ignore[method-assign]
    return shop
