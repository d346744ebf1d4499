"""How the stand-in answers: a method a command, each with the state's lock held."""

from __future__ import annotations

from collections.abc import Callable

from cometbot.testing.simplex.chats import ChatAnswers
from cometbot.testing.simplex.console import complete_request, help_section
from cometbot.testing.simplex.files import FileAnswers
from cometbot.testing.simplex.grammar import Request
from cometbot.testing.simplex.messages import MessageAnswers
from cometbot.testing.simplex.objects import Obj
from cometbot.testing.simplex.profiles import ProfileAnswers
from cometbot.testing.simplex.state import Refused


class Answers(ProfileAnswers, ChatAnswers, MessageAnswers, FileAnswers):
    """All commands that the stand-in carries out."""

    def answer(self, request: Request) -> Obj:
        """The record that answers ``request``: what was asked for, or a ``chatCmdError``."""
        method: Callable[[Request], Obj] = getattr(self, f"do_{request.name}")
        with self.state.lock:
            try:
                record = method(complete_request(self.state, request))
            except Refused as refused:
                record = {"type": "chatCmdError", "chatError": refused.chat_error}
            self.state.save()
        return record

    def do_start(self, request: Request) -> Obj:
        """A CLI with a port has started by itself."""
        return {"type": "chatRunning"}

    def do_stop(self, request: Request) -> Obj:
        """It goes on; nothing in a bot depends on it."""
        return {"type": "chatStopped"}

    def do_help(self, request: Request) -> Obj:
        """The name of a part of the console's help."""
        return {"type": "chatHelp", "helpSection": help_section(request.text("topic"))}

    def do_version(self, request: Request) -> Obj:
        """The release that it follows."""
        info = {"version": "7.0.2", "simplexmqVersion": "7.0.2", "simplexmqCommit": ""}
        return {"type": "versionInfo", "versionInfo": info, "chatMigrations": [], "agentMigrations": []}

    def do_subscriptions(self, request: Request) -> Obj:
        """One server, connected."""
        return {"type": "agentSubs", "activeSubs": {"smp9.example.org": 1}, "pendingSubs": {}, "removedSubs": {}}
