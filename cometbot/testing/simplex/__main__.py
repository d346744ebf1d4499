"""The fake SimpleX CLI in a process of its own: ``python -m cometbot.testing.simplex --port 5225``."""

from __future__ import annotations

import argparse

from cometbot.shutdown import shutdown_on_signals
from cometbot.testing.simplex.cli import FakeSimplexCLI


def main() -> None:
    """Run the fake CLI like ``simplex-chat -p PORT``: print its URL and run until a signal arrives."""
    parser = argparse.ArgumentParser(prog="python -m cometbot.testing.simplex", description=__doc__)
    parser.add_argument("--port", type=int, default=5225, help="where to listen; 0 for any free port")
    parser.add_argument("--state", help="a file to keep everything in")
    parser.add_argument("--files-folder", default="", help="where received files are put")
    parser.add_argument("--display-name", default="Echo bot", help="the profile to begin with; empty for none")
    parser.add_argument("--form", choices=("flat", "either", "remote_host"), default="flat")
    options = parser.parse_args()
    with shutdown_on_signals() as shutdown, FakeSimplexCLI(**vars(options)) as cli:
        print(cli.url, flush=True)
        shutdown.wait()


if __name__ == "__main__":
    main()
