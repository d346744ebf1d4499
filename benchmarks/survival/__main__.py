"""Prints what an order survives in cometbot, aiogram and python-telegram-bot: ``python -m benchmarks.survival``.

The peers are installed from PyPI into an environment of their own.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

from benchmarks.survival.bots import BOTS, make_environment, run_cometbot, run_peer
from benchmarks.survival.trial import MOMENTS, Moment, Result, Trial

PEERS = ("aiogram==3.31.0", "aiogram-sqlite-storage==1.0.1", "python-telegram-bot==22.8", "pytest")

Run = Callable[[Trial, Path], Result]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.survival", description=__doc__.splitlines()[0])
    default = Path(tempfile.gettempdir(), "cometbot-peers")
    parser.add_argument("--peers", type=Path, default=default, help="the folder of the environment with the peers")
    parser.add_argument("--only", default="", help="only the bots whose name contains this")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the bot that runs is killed on the way out
    python = make_environment(options.peers, PEERS)
    run_tests(Path(sys.executable), "order_cometbot")
    run_tests(python, "order_aiogram", "order_telegram")
    runs: dict[str, Run] = {
        "cometbot": run_cometbot,
        "aiogram, default": partial(run_peer, python=python, name="aiogram", configuration="default"),
        "aiogram, at its best": partial(run_peer, python=python, name="aiogram", configuration="best"),
        "python-telegram-bot, default": partial(run_peer, python=python, name="telegram", configuration="default"),
        "python-telegram-bot, at its best": partial(run_peer, python=python, name="telegram", configuration="best"),
    }
    print(f"cometbot {version('cometbot')}, {', '.join(PEERS[:3])}\n", flush=True)
    results = {name: try_moments(name, run) for name, run in runs.items() if options.only in name}
    print(f"\n{summarise(results)}\n\n{show_moments(results)}")


def run_tests(python: Path, *bots: str) -> None:
    """Run the tests of bots. Raises ``CalledProcessError`` if one fails."""
    files = [f"test_{bot}.py" for bot in bots]
    command = [str(python), "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", ".", "-p", "no:cacheprovider", *files]
    subprocess.run(command, cwd=BOTS, env={**os.environ, "PYTHONPATH": "."}, check=True)


def try_moments(name: str, run: Run) -> dict[Moment | None, Result]:
    """Run one order without a kill, and one for each moment."""
    results: dict[Moment | None, Result] = {}
    for moment in (None, *MOMENTS):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            results[moment] = result = run(Trial(moment), Path(folder))
        print(f"{name} | {moment or 'not killed'} | {describe(result)}", flush=True)
    return results


def describe(result: Result) -> str:
    """Return what became of an order, in words."""
    words = ["ends" if result.went_on else "stops"]
    if len(result.order_keys) > 1:
        words.append("two orders" if len(set(result.order_keys)) > 1 else "two orders without keys")
    if result.order_keys and not result.went_on:
        words.append("order created")
    if result.doubled:
        words.append("reply doubled")
    return ", ".join(words)


def show_moments(results: dict[str, dict[Moment | None, Result]]) -> str:
    """Return a table of what became of the order at each moment."""
    lines = [f"| killed | {' | '.join(results)} |", f"| --- |{' --- |' * len(results)}"]
    for moment in MOMENTS:
        cells = " | ".join(describe(by_moment[moment]) for by_moment in results.values())
        lines.append(f"| {moment} | {cells} |")
    return "\n".join(lines)


def summarise(results: dict[str, dict[Moment | None, Result]]) -> str:
    """Return the table of all bots."""
    lines = [
        "| | reached its end | created two orders | with keys | left a message unanswered | doubled a reply |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, by_moment in results.items():
        killed = [result for moment, result in by_moment.items() if moment is not None]
        counts = (
            sum(result.went_on for result in killed),
            sum(len(result.order_keys) > 1 for result in killed),
            sum(len(set(result.order_keys)) > 1 for result in killed),
            sum(result.lost > 0 for result in killed),
            sum(result.doubled > 0 for result in killed),
        )
        lines.append(f"| {name} | {' | '.join(f'{count} of {len(killed)}' for count in counts)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
