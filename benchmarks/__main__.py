"""Runs the benchmarks, all or those that are named, and prints their tables: ``python -m benchmarks ack --quick``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

from benchmarks import (
    ack,
    agents,
    cluster,
    dialogs,
    jobs,
    moderation,
    purge,
    replies,
    roundtrip,
    route,
    streams,
    throughput,
    waiting,
    webchats,
)
from benchmarks.tables import machine

Benchmark = Callable[[], str]
_TITLES = {
    "ack": "Acknowledged: from the callback's POST to its 200",
    "roundtrip": f"Answered: from the callback's POST to the reply's request, at {roundtrip.RATE} messages/s",
    "replies": "Answered as fast as users write, beside Bolt, aiogram and python-telegram-bot",
    "waiting": "Answered while handlers or the platform wait, beside Bolt and aiogram",
    "throughput": "Worked through: from the mailbox to the end of a message",
    "streams": f"Heard: from a message's POST to an open event stream, at {streams.RATE} messages/s",
    "agents": f"Acknowledged beside {agents.ANSWERS} open answers of AG-UI",
    "webchats": f"Shown: from a person's message to the reply in an open web chat, at {webchats.RATE} messages/s",
    "cluster": "Many machines: SQLite and PostgreSQL beside Celery with Redis",
    "purge": "Acknowledged while old messages are purged",
    "moderation": f"Judged at {moderation.RATE}/s beside {moderation.MESSAGES} messages/s and handlers that wait",
    "dialogs": "A message beside 10,000 open dialogs of other conversations",
    "jobs": "10,000 jobs that are due at once, and the messages beside them",
    "route": "Calls of one message, from the callback to the sent reply",
}
_FULL: dict[str, Benchmark] = {
    "ack": ack.run,
    "roundtrip": roundtrip.run,
    "replies": replies.run,
    "waiting": waiting.run,
    "throughput": throughput.run,
    "cluster": cluster.run,
    "purge": purge.run,
    "streams": streams.run,
    "agents": agents.run,
    "webchats": webchats.run,
    "moderation": moderation.run,
    "dialogs": dialogs.run,
    "jobs": jobs.run,
    "route": route.run,
}
_QUICK: dict[str, Benchmark] = {
    "ack": partial(ack.run, rounds=2, seconds=1.0),
    "roundtrip": partial(roundtrip.run, rounds=1, messages=200),
    "replies": partial(replies.run, rounds=2, seconds=1.0),
    "waiting": partial(waiting.run, rounds=1, users=50, wait=0.5, many=200, long=1.0, seconds=2.0),
    "throughput": partial(throughput.run, rounds=1, messages=1000),
    "cluster": partial(cluster.run, rounds=1, messages=400, backlog=2000, done=10_000),
    "webchats": partial(webchats.run, rounds=1, chats=50, seconds=2.0),
    "agents": partial(agents.run, rounds=1, answers=50, seconds=1.0),
    "streams": partial(streams.run, rounds=1, streams=100, seconds=2.0),
    "purge": partial(purge.run, rounds=1, old=20_000, seconds=2.0),
    "moderation": partial(moderation.run, rounds=1, seconds=2.0),
    "dialogs": partial(dialogs.run, rounds=1, dialogs=500, messages=200),
    "jobs": partial(jobs.run, count=500),
    "route": route.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What cometbot does in a second.")
    parser.add_argument("names", nargs="*", choices=[*_TITLES, []], help="which benchmarks; all if none is named")
    parser.add_argument("--quick", action="store_true", help="short rounds: does it run at all")
    parser.add_argument(
        "--summary", action="store_true", help="only the numbers of calls, functions and modules of route"
    )
    options = parser.parse_args()
    if options.summary:
        print(route.summary())
        return
    print(machine(), flush=True)
    for name in options.names or _TITLES:
        began = time.monotonic()
        print(f"\n## {_TITLES[name]}\n\n{(_QUICK if options.quick else _FULL)[name]()}", flush=True)
        print(f"\n({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
