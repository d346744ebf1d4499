"""The command line as ``python -m cometbot.cli``, for processes that start others."""

from cometbot.cli import main

main(prog_name="cometbot")
