"""Brings buyers and sellers together at the earlier offer's price: ``/sell bike 80``, ``/buy bike 90``, ``/tell Hi``.

``TRADES`` names the file that offers are kept in; a message places its offer once, however often it is handled.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from typing import NamedTuple

from cometbot import Bot, Context, direct

_TABLE = "CREATE TABLE IF NOT EXISTS offers (event TEXT PRIMARY KEY, side, thing, price INTEGER, uid, name, partner)"
_BEST = """SELECT event FROM offers WHERE partner IS NULL AND side != :side AND thing = :thing AND uid != :uid
    AND CASE :side WHEN 'buy' THEN price <= :price ELSE price >= :price END
    ORDER BY CASE :side WHEN 'buy' THEN price ELSE -price END, rowid LIMIT 1"""
_PARTNER = """SELECT o.uid, o.name, o.price FROM offers o JOIN offers mine ON o.event = mine.partner
    WHERE mine.event = ? OR mine.uid = ? ORDER BY mine.rowid DESC"""


class Partner(NamedTuple):
    uid: str
    name: str
    price: int


class Book:
    def __init__(self, path: str = ":memory:") -> None:
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._lock = threading.Lock()
        self._db.execute(_TABLE)

    def place(self, **offer: str | int) -> Partner | None:
        with self._lock, self._db:
            insert = "INSERT OR IGNORE INTO offers VALUES (:event, :side, :thing, :price, :uid, :name, NULL)"
            best = self._db.execute(_BEST, offer).fetchone() if self._db.execute(insert, offer).rowcount else None
            pairs = [(best[0], offer["event"]), (offer["event"], best[0])] if best else []
            self._db.executemany("UPDATE offers SET partner = ? WHERE event = ?", pairs)
        return self.partner(event=offer["event"])

    def open(self, uid: str) -> list[tuple[str, str, int]]:
        """Return the side, thing and price of what a user offers and nobody has taken."""
        query = "SELECT side, thing, price FROM offers WHERE uid = ? AND partner IS NULL ORDER BY rowid"
        with self._lock:
            return list(self._db.execute(query, [uid]))

    def withdraw(self, uid: str, thing: str) -> bool:
        """Remove a user's open offers of a thing; return whether there were any."""
        query = "UPDATE offers SET partner = '' WHERE uid = ? AND thing = ? AND partner IS NULL"
        with self._lock, self._db:
            return self._db.execute(query, [uid, thing]).rowcount > 0

    def partner(self, event: str | int = "", uid: str = "") -> Partner | None:
        with self._lock:
            return next((Partner(*row) for row in self._db.execute(_PARTNER, [event, uid])), None)


def make_bot(book: Book, name: str = "market") -> Bot:
    bot = Bot(name, description="I find who sells what you want to buy.")

    def trade(side: str) -> Callable[..., str]:
        def place(ctx: Context, thing: str, price: int) -> str:
            if ctx.conversation.is_group or not 0 < price < 10**9:
                return "Write to me alone." if ctx.conversation.is_group else "A price is a number from 1 to 999999999."
            who = {"uid": ctx.sender.uid, "name": ctx.sender.name}
            deal = book.place(event=ctx.event.key, side=side, thing=thing.casefold(), price=price, **who)
            if deal is None:
                return "Noted. I tell you when somebody fits."
            agreed = f"agrees: {thing} for {deal.price}. Write /tell and what you want to say."
            ctx.send(f"{ctx.sender.name} {agreed}", to=ctx.conversation_with(user=deal.uid))
            return f"{deal.name} {agreed}"

        return place

    bot.command("sell", description="Something to sell, and the least that you want for it.")(trade("sell"))
    bot.command("buy", description="Something to buy, and the most that you give for it.")(trade("buy"))

    @bot.command("offers", description="Your offers that nobody has taken.")
    def offers(ctx: Context) -> str:
        lines = [f"/{side} {thing} {price}" for side, thing, price in book.open(ctx.sender.uid)]
        return "\n".join(lines) or "You offer nothing."

    @bot.command("withdraw", description="Take back what you offer.")
    def withdraw(ctx: Context, thing: str) -> str:
        return f"{thing} is withdrawn." if book.withdraw(ctx.sender.uid, thing.casefold()) else f"You offer no {thing}."

    @bot.message(direct)
    def explain(ctx: Context) -> str:
        return "Write /sell bike 80 or /buy bike 90; /offers shows what you offer, /withdraw bike takes it back."

    @bot.command("tell", description="A word to your last partner.")
    def tell(ctx: Context, *, text: str) -> str:
        if partner := book.partner(uid=ctx.sender.uid):
            ctx.send(f"{ctx.sender.name}: {text}", to=ctx.conversation_with(user=partner.uid))
        return "Sent." if partner else "You have no partner yet."

    return bot


bot = make_bot(Book(os.environ.get("TRADES", ":memory:")))
