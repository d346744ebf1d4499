"""``python -m cometbot.cli``: the command line, for processes that start others."""

from cometbot.cli import main

main(prog_name="cometbot")
