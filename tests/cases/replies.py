"""Cases about replies, and about requests to a platform that refuses."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable
from itertools import pairwise

from cometbot import Bot, Context
from cometbot.testing import BotClient
from tests.cases.case import Case, Finding, check
from tests.cases.server import FakeCometChat, Server, message, start_cometchat, wait_for

CLUSTERS = {
    "family": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466" * 3000,
    "flags": "\U0001f1e9\U0001f1ea" * 6000,
    "skin tone": "\U0001f44d\U0001f3fd" * 6000,
    "Devanagari": "\u0915\u094d\u0937\u093f" * 5000,
    "accents": ("e" + "\u0301" * 5) * 3000,
    "Hangul": "\u1112\u1161\u11ab" * 5000,
    "keycaps": "1\ufe0f\u20e3" * 5000,
    "tag flag": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f" * 2000,
    "line ends": "line\r\n" * 6000,
}
"""Texts too long for one message, each a repetition of one grapheme cluster (or of a line)."""
_UNITS = {"line ends": "line\r\n"}
FENCE = "```\n" + "code line\n" * 3000 + "```"


def parts_of(text: str) -> list[str]:
    """Return the parts of a reply of this text on CometChat."""
    bot = Bot("splitter", description="Splits.")

    @bot.fallback
    def say(ctx: Context) -> str:
        return text

    with BotClient(bot, user="maria", channel="cometchat") as client:
        return list(client.send("go").texts)


def is_cut(unit: str, parts: list[str]) -> bool:
    """Return whether a part begins or ends inside of ``unit``."""
    return any(len(part) % len(unit) or part != unit * (len(part) // len(unit)) for part in parts)


@check("callback/reply-lone-surrogate")
def lone_surrogate(case: Case) -> Finding:
    seen = parts_of("ok \ud83d end")
    return Finding(repr(["ok \ufffd end"]), repr(seen), seen == ["ok \ufffd end"])


@check("callback/split-inside-grapheme")
def split(case: Case) -> Finding:
    wrong = []
    for name, text in CLUSTERS.items():
        unit = text[: next(n for n in range(1, len(text)) if text == text[:n] * (len(text) // n))]
        parts = parts_of(text)
        if name in _UNITS:  # Blanks at a cut may go, but a line end stays whole.
            is_wrong = any(a.endswith("\r") and b.startswith("\n") for a, b in pairwise(parts))
        else:
            is_wrong = is_cut(unit, parts)
        wrong += [f"{name} is cut"] if is_wrong or len(parts) < 2 else []
        wrong += [f"{name}: a part of {max(map(_size, parts))} bytes"] if max(map(_size, parts)) > 10_000 else []
    fences = [part.count("```") for part in parts_of(FENCE)]
    wrong += [f"fences a part: {fences}"] if len(fences) < 2 or any(count % 2 for count in fences) else []
    return Finding("cuts between clusters, fences closed in each part", "; ".join(wrong) or "the same", not wrong)


def _size(part: str) -> int:
    return len(part.encode(errors="replace"))


def start_refused_server(
    case: Case, name: str, headers: Callable[[], dict[str, str]], *, forever: bool
) -> tuple[Server, FakeCometChat]:
    """A server whose bot has begun to answer, and the platform that refuses."""
    made = start_cometchat(case)
    made.refusals, made.refuses_forever = [headers], forever
    server = Server(case, name=name, COMETCHAT_API_URL=made.url).start()
    assert server.callback(message("answer me")).status_code == 200
    assert wait_for(lambda: made.posts), f"nothing was sent: {server.log[-500:]}"
    return server, made


@check("callback/reset-header-milliseconds")
def milliseconds(case: Case) -> Finding:
    def headers() -> dict[str, str]:
        return {"X-Rate-Limit-Reset": str(int((time.time() + 2) * 1000))}

    _, made = start_refused_server(case, "server", headers, forever=False)
    wait_for(lambda: len(made.posts) > 1, 30)
    if len(made.posts) < 2:
        return Finding("a second request after about 2 s (at most 10 s)", "none within 30 s", False)
    waited = made.posts[1] - made.posts[0]
    return Finding("a second request after about 2 s (at most 10 s)", f"after {waited:.1f} s", 1 <= waited <= 20)


@check("callback/reset-header-relative")
def relative(case: Case) -> Finding:
    variants: dict[str, Callable[[], dict[str, str]]] = {
        "X-Rate-Limit-Reset 30": lambda: {"X-Rate-Limit-Reset": "30"},
        "Retry-After 0": lambda: {"Retry-After": "0"},
        "Retry-After in the past": lambda: {"Retry-After": email.utils.formatdate(time.time() - 60, usegmt=True)},
    }
    counts = {}
    for number, (name, headers) in enumerate(variants.items()):
        _, made = start_refused_server(case, f"server{number}", headers, forever=True)
        time.sleep(6)
        counts[name] = len(made.posts)
    seen = ", ".join(f"{name}: {count} requests in 6 s" for name, count in counts.items())
    return Finding("at most 4 requests in 6 s (a floor of 1 s that grows)", seen, max(counts.values()) <= 4)
