"""Brings buyers and sellers together at the earlier offer's price: ``/sell bike 80``, ``/buy bike 90``, ``/tell Hi``.

``TRADES`` names the file that offers are kept in; a message places its offer once, however often it is handled.
"""

import os
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from cometbot import Bot, Context, direct

_TABLE = "CREATE TABLE IF NOT EXISTS offers (event TEXT PRIMARY KEY, side, thing, price INTEGER, uid, name, partner)"
_BEST = """SELECT event FROM offers WHERE partner IS NULL AND side != :side AND thing = :thing AND uid != :uid
    AND CASE :side WHEN 'buy' THEN price <= :price ELSE price >= :price END
    ORDER BY CASE :side WHEN 'buy' THEN price ELSE -price END, rowid LIMIT 1"""
_PARTNER = """SELECT o.uid, o.name, o.price FROM offers o JOIN offers mine ON o.event = mine.partner
    WHERE mine.event = ? OR mine.uid = ? ORDER BY mine.rowid DESC"""
_OPEN = "SELECT side, thing, price FROM offers WHERE uid = ? AND partner IS NULL ORDER BY rowid"
_WITHDRAW = "UPDATE offers SET partner = '' WHERE uid = ? AND thing = ? AND partner IS NULL"


class Book:
    def __init__(self, path: str = ":memory:") -> None:
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._lock = threading.Lock()
        self._db.execute(_TABLE)

    def place(self, **offer: str | int) -> tuple[str, str, int] | None:
        """Return uid and name of the partner, and the price; None until there is one."""
        with self._lock, self._db:
            insert = "INSERT OR IGNORE INTO offers VALUES (:event, :side, :thing, :price, :uid, :name, NULL)"
            best = self._db.execute(_BEST, offer).fetchone() if self._db.execute(insert, offer).rowcount else None
            pairs = [(best[0], offer["event"]), (offer["event"], best[0])] if best else []
            self._db.executemany("UPDATE offers SET partner = ? WHERE event = ?", pairs)
        return next(iter(self.run(_PARTNER, offer["event"], "")[0]), None)

    def run(self, query: str, *values: Any) -> tuple[list[Any], int]:
        """Return the rows of a query and the number of rows that it has changed."""
        with self._lock, self._db:
            cursor = self._db.execute(query, values)
            return cursor.fetchall(), cursor.rowcount


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
            agreed = f"agrees: {thing} for {deal[2]}. Write /tell and what you want to say."
            ctx.send(f"{ctx.sender.name} {agreed}", to=ctx.conversation_with(user=deal[0]))
            return f"{deal[1]} {agreed}"

        return place

    bot.command("sell", description="Something to sell, and the least that you want for it.")(trade("sell"))
    bot.command("buy", description="Something to buy, and the most that you give for it.")(trade("buy"))

    @bot.command("offers", description="Your offers that nobody has taken.")
    def offers(ctx: Context) -> str:
        lines = [f"/{side} {thing} {price}" for side, thing, price in book.run(_OPEN, ctx.sender.uid)[0]]
        return "\n".join(lines) or "You offer nothing."

    @bot.command("withdraw", description="Take back what you offer.")
    def withdraw(ctx: Context, thing: str) -> str:
        changed = book.run(_WITHDRAW, ctx.sender.uid, thing.casefold())[1]
        return f"{thing} is withdrawn." if changed else f"You offer no {thing}."

    @bot.command("tell", description="A word to your last partner.")
    def tell(ctx: Context, *, text: str) -> str:
        partner = next(iter(book.run(_PARTNER, "", ctx.sender.uid)[0]), None)
        if partner:
            ctx.send(f"{ctx.sender.name}: {text}", to=ctx.conversation_with(user=partner[0]))
        return "Sent." if partner else "You have no partner yet."

    @bot.message(direct)
    def explain(ctx: Context) -> str:
        return "Write /sell bike 80 or /buy bike 90; /offers shows what you offer, /withdraw bike takes it back."

    return bot


bot = make_bot(Book(os.environ.get("TRADES", ":memory:")))
