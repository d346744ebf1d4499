"""Finds what is known about a question. What answers is a plain function: put a language model in its place.

It answers one-to-one, and in groups where it is mentioned or commanded.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cometbot import Bot, Context, direct, mentioned

Answerer = Callable[[str], str]

ARTICLES = {
    "Opening hours": "We are open from Monday to Friday, 9 to 17 o'clock.",
    "Parking": "You can park behind the house. The gate opens with the code on your ticket.",
    "Lost tickets": "We print a lost ticket again at the desk; bring something with your name on it.",
}


def search(question: str) -> str:
    """The article that shares most words with the question; a title counts twice."""
    asked = words(question)
    scored = [
        (2 * len(asked & words(title)) + len(asked & words(text)), title, text) for title, text in ARTICLES.items()
    ]
    score, title, text = max(scored)
    return f"*{title}*\n{text}" if score else "I found nothing about that. Try other words, or /topics."


def words(text: str) -> set[str]:
    """How the words of a text begin, so that "open" finds "opening"."""
    return {word[:4] for word in re.findall(r"\w{4,}", text.casefold())}


def make_bot(answer: Answerer, name: str = "knowledge") -> Bot:
    """A bot that answers with what ``answer`` makes of a question."""
    bot = Bot(name, description="Ask me anything about our house.")

    @bot.command("topics", description="What I know something about.")
    def topics(ctx: Context) -> str:
        return "\n".join(ARTICLES)

    @bot.command("ask", description="An answer to a question.")
    def ask(ctx: Context, *, question: str) -> str:
        return answer(question)

    @bot.message(direct | mentioned)
    def find(ctx: Context) -> str:
        return answer(ctx.text) if ctx.text else "Ask me something."

    return bot


bot = make_bot(search)
