"""A fake SimpleX Chat CLI, in this process or in one of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from cometbot.testing.simplex.api_objects import JsonObject
from cometbot.testing.simplex.command_handlers import CommandHandlers
from cometbot.testing.simplex.people import People
from cometbot.testing.simplex.server import CONTROL_PATH, FakeServer, FrameForm
from cometbot.testing.simplex.state import FakeState
from cometbot.testing.simplex.user_actions import UserActions


class FakeSimplexCLI(People):
    """A SimpleX CLI for tests, on a port of its own: like ``simplex-chat -p``, without a network.

    ::

        with FakeSimplexCLI() as cli:
            connection = Connection(Endpoint.from_url(cli.url), on_event=print)
            connection.start()
            alice = cli.connect("alice")
            alice.say("Hello")
            cli.wait_for(lambda: alice.texts() == ["Hello, alice!"])

    It follows the API reference of release 7.0.2. Real CLIs may differ in what the reference leaves open.

    ``display_name`` is the initial profile (empty: none), ``form`` the format of ``resp``, ``files_folder`` the value
    of ``--files-folder``. With a ``state`` file it continues from the stored state. ``credentials`` are required before
    the WebSocket opens, like by a proxy. ``holds_files`` keeps downloads pending.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        display_name: str = "Echo bot",
        form: FrameForm = "flat",
        files_folder: str | Path = "",
        state: str | Path | None = None,
        credentials: tuple[str, str] | None = None,
        holds_files: bool = False,
    ) -> None:
        self._state = FakeState(Path(state) if state is not None else None)
        if display_name and not self._state.users:
            self._state.add_user({"displayName": display_name, "fullName": ""})
            self._state.save()
        self.handlers = CommandHandlers(self._state)
        self.handlers.files_folder, self.handlers.holds_files = str(files_folder), holds_files
        self._actions = UserActions(self._state, self.handlers)
        self.server = FakeServer(self.handlers, port=port, form=form, credentials=credentials, control=self._control)

    def __enter__(self) -> FakeSimplexCLI:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The URL where it listens, or will listen again."""
        return f"ws://127.0.0.1:{self.server.port}"

    def start(self) -> None:
        """Start listening."""
        self.server.start()

    def close(self) -> None:
        """Break all connections and stop listening."""
        self.server.stop()

    def restart(self, pause: float = 0.0) -> None:
        """Stop, and start again on the same port with the stored state. Events that nobody read are lost."""
        self.server.stop()
        time.sleep(pause)
        self.server.start()

    @property
    def records(self) -> list[JsonObject]:
        """All records that it has created, answers and events, in order."""
        return [record for _, record in self.server.records]

    def do(self, name: str, /, **arguments: Any) -> Any:
        server = self.server
        if name == "commands":
            return list(server.commands)
        if name == "clients":
            return server.clients
        if name in ("misbehave", "drop", "emit", "refuse", "hang", "resume", "send_raw"):
            return getattr(server, name)(**arguments)
        if name == "restart":
            # Restart later, so that a client that requested it over a connection receives the answer.
            threading.Timer(0.1, self.restart, kwargs=arguments).start()
            return None
        return self._actions.do(name, arguments)

    def _control(self, text: str) -> str:
        """Return the answer to ``{"do": name, "with": {…}}`` from another process."""
        try:
            request: Mapping[str, Any] = orjson.loads(text)
            return orjson.dumps({"result": self.do(request["do"], **request["with"])}).decode()
        except Exception as error:
            return orjson.dumps({"error": f"{type(error).__name__}: {error}"}).decode()


class FakeSimplexControl(People):
    """A client for the people of a :class:`FakeSimplexCLI` that runs in another process, at ``url``.

    ``timeout`` is for one action, in seconds. Raises :class:`RuntimeError` for actions that the fake CLI rejects.
    """

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        self.url, self._timeout = url, timeout

    def __enter__(self) -> FakeSimplexControl:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing, since each action has a connection of its own."""

    def restart(self, pause: float = 0.0) -> None:
        """Restart the fake CLI with its stored state."""
        self.do("restart", pause=pause)

    def do(self, name: str, /, **arguments: Any) -> Any:
        request = orjson.dumps({"do": name, "with": arguments}).decode()
        answer = orjson.loads(self._exchange(request))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def _exchange(self, request: str) -> str | bytes:
        """Send a request and return the answer. A fake CLI that is restarting is tried again."""
        ends_at = time.monotonic() + self._timeout
        while True:
            try:
                with connect(self.url + CONTROL_PATH, proxy=None, compression=None, max_size=None) as socket:
                    socket.send(request)
                    return socket.recv(self._timeout)
            except (OSError, ConnectionClosed):
                if time.monotonic() > ends_at:
                    raise
                time.sleep(0.02)
