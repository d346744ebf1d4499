"""Random scripts: bots that ask, as source code, and what users, the platform and the clock do to them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies

from tests.contract.dialogs.crashing import Deploy, Press, Redeliver, Say, Script, ScriptEvent, Wait

# Times end a tenth of a step after an event: later than what a crash delays, and always before the next event.
_LINES = {
    "ask": 'answers.append(ctx.ask("Question {n}?", timeout=2100, attempts=2, listen=True))',
    "choose": 'answers.append(ctx.ask("Which {n}?", choices=["S", "M"], timeout=2100, attempts=2, listen=True))',
    "count": 'answers.append(ctx.ask("How many {n}?", type=int, timeout=2100, attempts=2, listen=True, default=0))',
    "form": "answers.append(ctx.ask(make_form({n}), timeout=2100, attempts=2, listen=True))",
    "approve": 'answers.append(ctx.approve("Approve {n}?", to=Group("team"), timeout=2100, own=True).status)',
    "reply": 'sent = ctx.reply(f"Reply {n} {{answers}}")',
    "edit": 'sent.edit(f"Edited {n} {{answers}}")',
    "once": 'answers.append(ctx.once(call, "call-{n}"))',
    "stream": 'ctx.stream(["Stream ", "{n} ", str(answers)])',
    "state": 'ctx.state["count"] = ctx.state.get("count", 0) + 1',
    "user": 'ctx.user_state.increment("count")',
    "send": 'ctx.send(f"Elsewhere {n} {{answers}}", to=ctx.conversation_with(user="boss"))',
    "react": 'ctx.react("{n}")',
    "sleep": "ctx.sleep(1100)",
    "save": "save_{n}()",
    "fail": "fail_{n}()",
    "caught": "caught_{n}()",
}
_FUNCTIONS = {
    "save": """
    def save_{n}():
        def save():
            ctx.state["saved"] = ctx.state.get("saved", 0) + 1
            return call("call-{n}")
        answers.append(ctx.once(save))
""",
    "fail": """
    def fail_{n}():
        try:
            ctx.once(call, "failing-{n}")
        except LookupError as error:
            answers.append(str(error))
""",
    "caught": """
    def caught_{n}():
        try:
            answers.append(ctx.ask("Caught {n}?", timeout=2100, attempts=2, listen=True))
        except AskEnded as error:
            answers.append(type(error).__name__)
            ctx.once(call, "call-{n}")
            ctx.reply("Ended {n}")
""",
}
_REST = """
from cometbot import AskEnded, Field, Form, Group

def make_form(number):
    return Form(f"Form {number}", [Field("size", kind="select", options=["S", "M"]), Field("count", kind="number")])

@bot.command("other")
def other(ctx):
    return "Other: " + ctx.ask("Another?", choices=["S", "L"], timeout=1100, listen=True)

@bot.command("ping")
def ping(ctx):
    return "pong"

@bot.fallback
def fallback(ctx):
    return f"Re: {ctx.text}"

@bot.command("order")
def order(ctx):
    answers = []
    sent = ctx.reply("Welcome!")
"""


def write_bot(parts: Sequence[tuple[str, int]], name: str = "done") -> str:
    """Return the source of a bot whose command ``order`` has these parts, each with a number of its own."""
    source = _REST
    for kind, number in parts:
        source += _FUNCTIONS.get(kind, "").format(n=number)
        source += f"    {_LINES[kind].format(n=number)}\n"
    return source + f"    return f'{name} {{answers}}'\n"


def bots() -> strategies.SearchStrategy[list[str]]:
    """Return a strategy for two versions of a bot."""
    kinds = strategies.lists(strategies.sampled_from(sorted(_LINES)), min_size=2, max_size=6)
    changes = strategies.sampled_from(["text", "reply", "ask", "remove"])
    return strategies.builds(_make_versions, kinds, changes, strategies.integers(0, 5))


def _make_versions(kinds: list[str], change: str, place: int) -> list[str]:
    parts = [("choose", 0), *((kind, number) for number, kind in enumerate(kinds, 1))]
    changed, place = list(parts), min(place, len(parts))
    if change == "remove":
        del changed[min(place, len(parts) - 1)]
    elif change != "text":
        changed.insert(place, (change, 9))
    return [write_bot(parts), write_bot(changed, "changed")]


def events() -> strategies.SearchStrategy[list[ScriptEvent]]:
    """Return a strategy for what happens after the first message."""
    places = strategies.sampled_from(["", "", "team"])
    users = strategies.sampled_from(["maria", "maria", "maria", "tom"])
    texts = strategies.sampled_from(["S", "M", "2", "rubbish", "S", "/cancel", "/order", "/other", "/ping"])
    says = strategies.builds(Say, texts, users, places)
    presses = strategies.builds(Press, strategies.integers(0, 1), strategies.booleans(), users)
    rare = strategies.one_of(
        strategies.builds(Redeliver, strategies.integers(0, 3)), strategies.builds(Wait), strategies.builds(Deploy)
    )
    return strategies.lists(strategies.one_of(says, says, presses, rare), min_size=2, max_size=6)


def scripts() -> strategies.SearchStrategy[Script]:
    """Return a strategy for scripts."""
    openings = strategies.builds(Say, strategies.just("/order"), group=strategies.sampled_from(["", "team"]))
    return strategies.builds(_make_script, bots(), openings, events())


def _make_script(versions: list[str], opening: Say, rest: list[ScriptEvent]) -> Script:
    """Return a script whose users write where it begins, unless they write in a group."""
    here: list[ScriptEvent] = [
        Say(event.text, event.user, opening.group) if isinstance(event, Say) and not event.group else event
        for event in rest
    ]
    return Script(versions, [opening, *here])
