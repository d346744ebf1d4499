"""The simulator's public interface."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from types import TracebackType

from cometbot.simulator.app import AUTH_ONLY, FULL_ACCESS, RestApi, create_app
from cometbot.simulator.behaviour import Behaviour
from cometbot.simulator.callback_queue import Callback
from cometbot.simulator.client import CallbackResponse
from cometbot.simulator.control import control_blueprint
from cometbot.simulator.page.views import page_blueprint
from cometbot.simulator.server import LoopbackServer
from cometbot.simulator.simulated_app import SimulatedApp
from cometbot.simulator.world import Clock, World


class Simulator(SimulatedApp):
    """A simulator of CometChat: its REST API, its callbacks and webhooks, and users that you control.

    ::

        with Simulator() as simulator:
            simulator.add_bot("helpdesk", "http://127.0.0.1:8000/cometchat/helpdesk", username="cc", password="secret")
            question = simulator.user("maria").say("/track 4711", to="helpdesk")
            print(simulator.wait_reply(question)[0].text)

    The state is in memory; all methods are thread-safe. The simulator listens on 127.0.0.1 only. ``port`` 0 chooses a
    free port, which stays the same over ``stop`` and ``start``. The same ``seed`` gives the same keys, tokens and
    names. Each of the three logs holds ``log_size`` entries.
    """

    def __init__(
        self,
        *,
        app_id: str = "5150a0b1c2d3e4f6",
        region: str = "eu",
        api_key: str = "",
        port: int = 0,
        behaviour: Behaviour | None = None,
        seed: int = 0,
        clock: Clock = time.time,
        log_size: int = 10_000,
    ) -> None:
        world = World(
            app_id=app_id, region=region, behaviour=behaviour or Behaviour(), clock=clock, seed=seed, log_size=log_size
        )
        super().__init__(world, api_key or _make_key(seed, FULL_ACCESS), port)
        self.auth_key = _make_key(seed, AUTH_ONLY)
        self._server: LoopbackServer | None = None
        self._api = RestApi(world, self.misbehave, {self.api_key: FULL_ACCESS, self.auth_key: AUTH_ONLY})
        self.app = create_app(self._api)
        self.app.register_blueprint(self._media.blueprint())
        self.app.register_blueprint(control_blueprint(self))
        self.app.register_blueprint(page_blueprint(self, self._api.stopping))

    def __repr__(self) -> str:
        return f"<Simulator {self.url}>"

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Simulator:
        """Start to listen, post the callbacks that were queued while stopped, and return this simulator."""
        if self._server is None:
            self._api.stopping.clear()
            self._server = LoopbackServer(self.app, self._port)
            self._port = self._server.port
        self._relay.start()
        self.agent_runs.start()
        self.moderator.start()
        return self

    def stop(self, timeout: float = 1.0) -> None:
        """Close all connections and post no more callbacks. The state in memory stays.

        Waits up to ``timeout`` seconds for each callback that is being posted.
        """
        self._api.stopping.set()
        if self._server is not None:
            self._server.stop()
            self._server = None
        self.agent_runs.stop()
        self.moderator.stop()
        self._relay.stop(timeout)

    def post_callbacks(self, post: Callable[[Callback], CallbackResponse]) -> None:
        """Call ``post`` for each callback that was queued since :meth:`stop`.

        The calls are made one after the other, in the caller's thread.
        """
        self._relay.post_queued(post)


def _make_key(seed: int, scope: str) -> str:
    return f"{random.Random(f'{seed}{scope}').getrandbits(160):040x}"
