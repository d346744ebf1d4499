"""The harness of a bot under test: its fake, its delivery, and a clock that only moves on request."""

from __future__ import annotations

import itertools
import json
import weakref
from collections.abc import Callable, Collection, Iterator, MutableMapping, Sequence
from typing import Any

from cometbot.app_settings import check_names, parse_app_names
from cometbot.bot import Bot
from cometbot.channels.base import Channels
from cometbot.delivery import Delivery
from cometbot.errors import BotError, ConfigurationError, DeliveryError
from cometbot.models import Conversation
from cometbot.observer import Observer
from cometbot.providers import Providers, replace_providers
from cometbot.state import RESERVED_PREFIX, StateChange, check_state_key, to_json
from cometbot.steps import OPEN
from cometbot.store.dialogs import DialogRow
from cometbot.store.sent_files import SentFiles
from cometbot.store.tables import conversations
from cometbot.testing.fakes.base import PUBLIC_URL, Fake
from cometbot.testing.immediate_engine import ImmediateEngine, MemoryDatabase
from cometbot.testing.path_checks import PathChecks
from cometbot.testing.wsgi import download_file
from cometbot.token_usage import ModelUsage


class BotHarness:
    """Real delivery for one bot without threads: all work is done in :meth:`run_until_idle` and :meth:`advance`.

    If ``raise_errors`` is set, both raise the exception of a handler, and :class:`DeliveryError` for a rejected reply.
    The fake stands for the channels named in ``also``, too, and for all ``apps``, the first of which its users are in.
    """

    def __init__(
        self,
        bot: Bot,
        make_fake: Callable[[Bot], Fake],
        *,
        now: float | None,
        raise_errors: bool,
        providers: Providers,
        check_paths: bool,
        also: Sequence[str] = (),
        apps: Sequence[str] = (),
    ) -> None:
        apps = _check_apps(apps, bot)
        self.bot = bot
        self.fake = make_fake(bot)
        self.database = MemoryDatabase(now)
        self.fake.use_database(self.database)
        self.fake.channel.app = apps[0] if apps else ""
        self.numbers = itertools.count(1)
        self._engine = ImmediateEngine()
        self._recorder = _Recorder()
        self._raise_errors = raise_errors
        self._providers = providers
        with replace_providers(providers):
            self.delivery = Delivery(
                [bot],
                [self.fake.channel],
                self.database,
                engine=self._engine,
                observer=self._recorder,
                files=SentFiles(self.database, base_url=PUBLIC_URL),
            )
        channel = self.fake.channel
        self.delivery.channels = Channels([channel], dict.fromkeys(also, channel), dict.fromkeys(apps[1:], channel))
        self._path_checks = PathChecks(self.delivery, self._engine.reraise) if check_paths else None
        self.fake.attach(self.delivery)
        self.delivery.start()
        bot.connect(self.delivery)
        self._finalizer = weakref.finalize(self.delivery, self.database.close)

    @property
    def usage(self) -> list[ModelUsage]:
        """The calls of models that handlers have reported, in order."""
        return list(self._recorder.usage)

    def download(self, url: str) -> bytes:
        """Return the content of a file of the bot, as the server answers the request of a user's app."""
        return download_file(self.delivery.store.files, f"{PUBLIC_URL}/", url)

    def run_until_idle(self) -> None:
        """Do all work that is due now."""
        self.fake.wait_idle()
        with replace_providers(self._providers):
            self._engine.run_until_idle()
            if self._raise_errors:
                self._recorder.raise_first(self.delivery)
            if self._path_checks is not None:
                self._path_checks.check_new()

    def restart(self, bot: Bot) -> None:
        """Go on with ``bot`` over the same database and fake, as the next process would."""
        self.delivery.stop(0)
        with replace_providers(self._providers):
            bot.check()
        self.bot = bot
        self.delivery.bots = {bot.name: bot}
        self.delivery.start()
        bot.connect(self.delivery)
        self.fake.restart(bot, self.delivery)
        self._run_due()

    def list_waiting(self, conversation: Conversation, uids: Collection[str]) -> list[DialogRow]:
        """Return the open dialogs of a user in a conversation, those that asked last first."""
        found = []
        with self.database.read() as connection:
            for row in self.delivery.store.dialogs.list(connection):
                if row.status != OPEN or row.conversation_key != conversation.key_text:
                    continue
                opening = self.delivery.store.mailbox.get(connection, int(row.id.event[1:]))
                user = row.waiting.user or (opening["sender"] if opening is not None else "")
                if user in uids:
                    found.append(row)
        return sorted(found, key=lambda row: row.asked_seq, reverse=True)

    def advance(self, seconds: float) -> None:
        """Advance the clock, and do all work at its due time, such as retries and delayed replies."""
        self.run_until_idle()
        end = self.database.now + seconds
        while (due := self._next_due_time()) is not None and due <= end:
            self.database.now = max(due, self.database.now)
            self._run_due()
        self.database.now = end
        self._run_due()

    def _next_due_time(self) -> float | None:
        column = conversations.c.due_at
        query = conversations.select().where(column.is_not(None)).order_by(column).limit(1)
        with self.database.read() as connection:
            row = connection.execute(query).one_or_none()
            timer = self.delivery.store.dialogs.next_timer(connection)
            job = self.delivery.store.jobs.next_due(connection)
        times = [timer, job, float(row.due_at) if row else None]
        return min((due for due in times if due is not None), default=None)

    def _run_due(self) -> None:
        for conversation_key in self.delivery.store.fire_timers():
            self._engine.notify(conversation_key)
        for begun in self.delivery.store.fire_jobs():
            self._engine.notify(begun.conversation_key)
        with self.database.read() as connection:
            conversation_keys = self.delivery.store.leases.find_abandoned(
                connection, self.delivery.active_bots, self.delivery.handled_channels
            )
        for conversation_key in conversation_keys:
            self._engine.notify(conversation_key)
        self.run_until_idle()

    def close(self) -> None:
        """Release all resources. May be called twice."""
        if self._finalizer.detach():
            self.delivery.close()
            self.fake.close()


def _check_apps(apps: Sequence[str], bot: Bot) -> Sequence[str]:
    """Return the names of apps as a server has them. Raises :class:`BotError` for those that it does not start with."""
    try:
        names = parse_app_names(",".join(apps))
        check_names(names, [bot.name])
    except (ValueError, ConfigurationError) as error:
        raise BotError(f"apps: {error}") from None
    return names


class _Recorder(Observer):
    """Records calls of models, and permanent failures that have not been raised yet."""

    def __init__(self) -> None:
        self.usage: list[ModelUsage] = []
        self._errors: list[BaseException] = []
        self._refused = False

    def failed(self, bot: str, event: str, error: BaseException) -> None:
        self._errors.append(error)

    def sent(self, bot: str, seconds: float, outcome: str, *, app: str = "") -> None:
        self._refused = self._refused or outcome == "dead"

    def model_called(self, bot: str, model: str, *, input: int, output: int, cached: int) -> None:
        self.usage.append(ModelUsage(model, input, output, cached))

    def raise_first(self, delivery: Delivery) -> None:
        errors, self._errors = self._errors, []
        refused, self._refused = self._refused, False
        if errors:
            raise errors[0]
        if refused:
            letter = next((letter for letter in delivery.dead_letters.list() if letter.is_reply), None)
            raise DeliveryError(f"cannot send a reply: {letter.error if letter else 'unknown cause'}")


class StoredState(MutableMapping[str, Any]):
    """The stored state of one conversation or user. Each access reads it, and each assignment writes it."""

    def __init__(self, harness: BotHarness, scope: str, owner: str) -> None:
        self._harness = harness
        self._scope = scope
        self._owner = owner

    def __getitem__(self, name: str) -> Any:
        return self._load()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        check_state_key(name)
        self._apply(StateChange(self._scope, self._owner, {name: to_json(name, value)}))

    def __delitem__(self, name: str) -> None:
        if name not in self._load():
            raise KeyError(name)
        self._apply(StateChange(self._scope, self._owner, removed=frozenset({name})))

    def __iter__(self) -> Iterator[str]:
        return iter(name for name in self._load() if not name.startswith(RESERVED_PREFIX))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return f"<{self._scope} state {dict(self)}>"

    def _load(self) -> dict[str, Any]:
        with self._harness.database.read() as connection:
            stored = self._harness.delivery.store.state.load(connection, self._scope, self._owner)
        return {name: json.loads(text) for name, text in stored.items()}

    def _apply(self, change: StateChange) -> None:
        with self._harness.database.write() as connection:
            self._harness.delivery.store.state.apply(connection, [change])
