"""The command handlers of the fake CLI: one method for each command, called with the state's lock held."""

from __future__ import annotations

from collections.abc import Callable

from cometbot.testing.simplex.api_objects import JsonObject
from cometbot.testing.simplex.chats import ChatCommands
from cometbot.testing.simplex.command_grammar import Request
from cometbot.testing.simplex.console_commands import complete_request, help_section
from cometbot.testing.simplex.files import FileCommands
from cometbot.testing.simplex.messages import MessageCommands
from cometbot.testing.simplex.profiles import ProfileCommands
from cometbot.testing.simplex.state import CommandRefused


class CommandHandlers(ProfileCommands, ChatCommands, MessageCommands, FileCommands):
    """All commands that the fake CLI implements."""

    def handle(self, request: Request) -> JsonObject:
        """Return the record that answers ``request``, or a ``chatCmdError``."""
        method: Callable[[Request], JsonObject] = getattr(self, f"do_{request.name}")
        with self.state.lock:
            try:
                completed = complete_request(self.state, request)
                if "user" in completed and request.name not in ("set_user", "delete_user"):
                    self.state.user_by_id(completed.number("user"))
                record = method(completed)
            except CommandRefused as refused:
                record = {"type": "chatCmdError", "chatError": refused.chat_error}
            self.state.save()
        return record

    def do_start(self, request: Request) -> JsonObject:
        """Answer that the chat runs, since a CLI with a port starts by itself."""
        return {"type": "chatRunning"}

    def do_stop(self, request: Request) -> JsonObject:
        """Answer that the chat stopped, although it continues; no bot depends on this."""
        return {"type": "chatStopped"}

    def do_help(self, request: Request) -> JsonObject:
        """Return the name of a section of the console's help."""
        return {"type": "chatHelp", "helpSection": help_section(request.text("topic"))}

    def do_version(self, request: Request) -> JsonObject:
        """Return the release that the fake CLI follows."""
        info = {"version": "7.0.2", "simplexmqVersion": "7.0.2", "simplexmqCommit": ""}
        return {"type": "versionInfo", "versionInfo": info, "chatMigrations": [], "agentMigrations": []}

    def do_subscriptions(self, request: Request) -> JsonObject:
        """Return one connected server."""
        return {"type": "agentSubs", "activeSubs": {"smp9.example.org": 1}, "pendingSubs": {}, "removedSubs": {}}
