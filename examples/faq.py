"""Frequently asked questions: by command, by choice, or by a word in what was written."""

from __future__ import annotations

from cometbot import Bot, Choice, Choices, Context

ANSWERS = {
    "delivery": "We deliver within three days.",
    "returns": "You can send anything back within 30 days, at our cost.",
    "payment": "We take cards, PayPal, and invoices for companies.",
}

bot = Bot("faq", description="Answers what is often asked.")


def ask() -> Choices:
    options = [Choice(topic.capitalize(), topic) for topic in ANSWERS]
    return Choices("What would you like to know about?", options, action="faq")


@bot.command("faq", description="The answers, by topic.")
def faq(ctx: Context, topic: str = "") -> str | Choices:
    return ANSWERS.get(topic.lower()) or ask()


@bot.action("faq")
def chosen(ctx: Context) -> str:
    return ANSWERS[ctx.value]


@bot.fallback
def find(ctx: Context) -> str | Choices:
    words = ctx.text.lower()
    return next((answer for topic, answer in ANSWERS.items() if topic in words), None) or ask()
