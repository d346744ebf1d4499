"""One WSGI application of bots, channels and delivery: assembled here, and nowhere else."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn
from weakref import WeakSet

from flask import Flask, Response, request
from orjson import dumps
from werkzeug.exceptions import HTTPException

from cometbot.bot import Bot
from cometbot.channels.base import Channel
from cometbot.channels.cometchat import CallbackSettings, CometChatChannel, CometChatClient
from cometbot.delivery import Delivery, Observer
from cometbot.errors import ConfigurationError, StoreBusy, StoreUnavailable
from cometbot.http.errors import quote_value
from cometbot.http.sse import STREAMS
from cometbot.loading import load_bots_or_explain
from cometbot.settings import Settings
from cometbot.store.database import Database, check_persistent, database_from_url
from cometbot.web.application import Application
from cometbot.web.health import make_health_views
from cometbot.web.logs import configure_logging
from cometbot.web.metrics import Metrics
from cometbot.web.proxies import TrustedProxies

if TYPE_CHECKING:
    from cometbot.chat import Chat

APP_LOAD_ERROR = 4
"""The exit status that tells gunicorn not to try again."""

_log = logging.getLogger(__name__)
_runtimes: WeakSet[Runtime] = WeakSet()


@dataclass(eq=False)
class Runtime:
    """The moving parts of one application: ``app.extensions["cometbot"]``.

    Delivery starts once in each process, when gunicorn says that it is ready or else with the first request; either way
    after a fork, which threads do not survive.
    """

    settings: Settings
    delivery: Delivery
    metrics: Metrics
    handles: bool = True
    _is_stopped: bool = field(default=False, init=False)

    def start(self) -> None:
        """Begin to handle messages in this process, if it is to do so and does not yet.

        A database that cannot be used until it is repaired refuses what comes in, and is tried again then.
        """
        if self.handles and not self._is_stopped and not self.delivery.is_running:
            with suppress(StoreUnavailable):
                self.delivery.start()

    def check_database(self) -> None:
        """Raise :class:`ConfigurationError` if :meth:`start` or :meth:`check_schema` would."""
        self.check_schema()
        if self.handles:
            with suppress(StoreUnavailable):
                self.delivery.database.open()

    def check_schema(self) -> None:
        """Raise :class:`ConfigurationError` if this version cannot work with the database as it is.

        A database that is away now is none of that: it comes back, and callbacks get a 503 until then.
        """
        with suppress(StoreBusy):
            if not self.handles and (problem := self.delivery.database.schema_problem()):
                raise ConfigurationError(problem)

    def stop(self) -> None:
        """End handling for good; what runs gets ``settings.stop_timeout`` seconds, the rest stays stored."""
        self._is_stopped = True
        self.delivery.close()


def create_app(
    bots: Bot | Iterable[Bot],
    settings: Settings | None = None,
    channels: Sequence[Channel] | None = None,
    *,
    handles: bool = True,
) -> Flask:
    """The application that takes in what is written to ``bots``, and answers.

    It has the routes of ``channels`` (None: those that the settings name), ``/healthz``, ``/readyz`` and ``/metrics``,
    and can be mounted under another WSGI application. Without ``handles`` it only takes in: handlers run in other
    processes. Raises :class:`ConfigurationError` for settings with which it could not work, or would let anybody in.

    ::

        app = create_app(bot)
        site.wsgi_app = DispatcherMiddleware(site.wsgi_app, {"/bots": app})
    """
    settings = settings or Settings.from_environment()
    bot_list = [bots] if isinstance(bots, Bot) else list(bots)
    _check_names(bot_list, settings)
    metrics = Metrics(bot.name for bot in bot_list)
    db = database_from_url(settings.database_url)
    if channels is None:
        channels = channels_from_settings(settings, bot_list, metrics, db)
    delivery = _make_delivery(settings, bot_list, channels, metrics, db)
    STREAMS.set_limit(settings.streams)
    STREAMS.address_limit = settings.address_streams
    # Where workers of other machines share the database, they handle: a web process of one must not.
    handles = handles and not delivery.database.server_url
    runtime = Runtime(settings, delivery, metrics, handles)
    _runtimes.add(runtime)
    app = Application("cometbot", static_folder=None, before_each_request=runtime.start)
    app.extensions["cometbot"] = runtime
    _add_views(app, delivery, metrics)
    for bot in bot_list:
        bot.connect(delivery)
    if settings.trusted_proxies:
        app.wsgi_app = TrustedProxies(app.wsgi_app, settings.trusted_proxies)  # type: ignore[method-assign]
    return app


def create_app_from_settings(settings: Settings | None = None) -> Flask:
    """The application of the bots that ``settings.bot`` names, with logging set up; None means the environment's."""
    settings = settings or Settings.from_environment()
    configure_logging(settings.log_format, settings.log_level)
    check_persistent(settings.database_url)
    bots = load_bots_or_explain(settings.default_bot_spec)
    weak = (settings.weak_password_warning(bot.name, bot.callback_password) for bot in bots)
    for sentence in (*settings.warnings, *settings.check_bots(bot.name for bot in bots), *filter(None, weak)):
        _log.warning("check the settings: %s", sentence)
    return create_app(bots, settings)


def load_app(settings: Settings | None = None) -> Flask:
    """What :func:`create_app_from_settings` makes.

    Wrong settings, and a bot that cannot be imported, end the process with one sentence instead.
    """
    try:
        return create_app_from_settings(settings)
    except ConfigurationError as error:
        _log.debug("could not make the application", exc_info=error)
        exit_with_error(error)


def connect_from_settings(bot: Bot) -> None:
    """Let ``bot.send(…)`` work in a process without an application, such as a script.

    What the bot says is stored here, and sent by the processes that handle.
    """
    settings = Settings.from_environment()
    check_persistent(settings.database_url)
    db = database_from_url(settings.database_url)
    channels = channels_from_settings(settings, [bot], Observer(), db)
    bot.connect(_make_delivery(settings, [bot], channels, Observer(), db))


def worker_from_settings(
    settings: Settings,
    spec: str,
    *,
    threads: int | None = None,
    make_channels: Callable[[Sequence[Bot], Observer, Database], Sequence[Channel]] | None = None,
    handles: bool = True,
) -> tuple[Delivery, Metrics]:
    """The delivery of the bots that ``spec`` names, connected to them, for a process that serves no callbacks.

    With it comes what counts its work. ``make_channels`` makes other channels than the settings name; without
    ``handles`` it only sends to those whose connection it holds.
    """
    check_persistent(settings.database_url)
    bots = load_bots_or_explain(spec)
    _check_names(bots, settings)
    worker_settings = settings if threads is None else replace(settings, handler_threads=threads)
    metrics = Metrics(bot.name for bot in bots)
    db = database_from_url(worker_settings.database_url)
    if make_channels is None:
        channels: Sequence[Channel] = channels_from_settings(worker_settings, bots, metrics, db)
    else:
        channels = make_channels(bots, metrics, db)
    delivery = _make_delivery(worker_settings, bots, channels, metrics, db, handles=handles)
    for bot in bots:
        bot.connect(delivery)
    return delivery, metrics


def channels_from_settings(
    settings: Settings, bots: Sequence[Bot], observer: Observer, db: Database | None = None
) -> list[Channel]:
    """The channels that ``settings.channels`` names; those with conversations of their own keep them in ``db``.

    Raises :class:`ConfigurationError` for one that does not exist, or lacks what it needs.
    """
    chat = functools.cache(lambda: _make_chat(settings, db or database_from_url(settings.database_url)))
    makers: dict[str, Callable[[], Sequence[Channel]]] = {
        "cometchat": lambda: [_make_cometchat(settings, bots, observer)],
        "chat_api": lambda: _make_chat_api(settings, bots, observer, chat()),
        "platform": lambda: _make_platform(settings, bots, observer, chat()),
        "simplex": lambda: [_make_simplex(settings, bots)],
    }
    unknown = [name for name in settings.channels if name not in makers]
    if unknown or not settings.channels:
        named = f"names {', '.join(unknown)}, which does not exist" if unknown else "names no channel"
        raise ConfigurationError(f"COMETBOT_CHANNELS {named}; there is: {', '.join(makers)}")
    return [channel for name in settings.channels for channel in makers[name]()]


def start_all() -> None:
    """Begin to handle messages for every application of this process."""
    for runtime in list(_runtimes):
        try:
            runtime.check_schema()
            runtime.start()
        except ConfigurationError as error:
            exit_with_error(error)


def check_all() -> None:
    """Raise :class:`ConfigurationError` if :func:`start_all` would end the process."""
    for runtime in list(_runtimes):
        runtime.check_database()


def stop_all() -> None:
    """End handling for every application of this process."""
    for runtime in list(_runtimes):
        runtime.stop()


def exit_with_error(error: ConfigurationError) -> NoReturn:
    """End the process with one sentence, and with a status that tells gunicorn not to start another in its place."""
    print(f"cometbot: {error}", file=sys.stderr, flush=True)
    sys.exit(APP_LOAD_ERROR)


def _check_names(bots: Sequence[Bot], settings: Settings) -> None:
    names = [bot.name for bot in bots]
    if not names:
        raise ConfigurationError("there is no bot to serve; give create_app() one, or several in a list")
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise ConfigurationError(
            f"two bots have the name {duplicates[0]!r}; rename one, since callbacks find a bot by it"
        )
    settings.check_bots(names)


def _make_delivery(
    settings: Settings,
    bots: Sequence[Bot],
    channels: Sequence[Channel],
    observer: Observer,
    db: Database,
    *,
    handles: bool = True,
) -> Delivery:
    return Delivery(
        bots,
        channels,
        db,
        threads=settings.handler_threads,
        handler_timeout=settings.handler_timeout,
        keep_days=settings.keep_days,
        observer=observer,
        stop_timeout=settings.stop_timeout,
        handles=handles,
    )


def _add_views(app: Flask, delivery: Delivery, metrics: Metrics) -> None:
    for channel in delivery.channels.values():
        if blueprint := channel.blueprint(delivery):
            app.register_blueprint(blueprint)
    app.register_blueprint(make_health_views(delivery.checks))
    app.register_blueprint(metrics.blueprint(delivery.backlog))
    app.register_error_handler(HTTPException, _to_json)


def _to_json(error: HTTPException) -> Response:
    """The error for a caller that is a program: CometChat's envelope, which the callbacks' own errors have too."""
    texts = {
        404: f"there is nothing at {quote_value(request.path)}; callbacks go to /cometchat/NAME-OF-THE-BOT",
        405: f"{request.method} is not possible here; the header Allow says what is",
        500: "something went wrong here; the log says what",
    }
    code = f"ERR_{error.name.upper().replace(' ', '_')}"
    body = {"error": {"code": code, "message": texts.get(error.code or 500, error.description)}}
    headers = [(name, value) for name, value in error.get_headers() if name.lower() != "content-type"]
    return Response(dumps(body), error.code, headers, content_type="application/json")


def _make_cometchat(settings: Settings, bots: Sequence[Bot], observer: Observer) -> Channel:
    client = CometChatClient(
        settings.cometchat_base_url,
        settings.cometchat_api_key.reveal(),
        app_id=settings.cometchat_app_id,
        pool_size=settings.threads + settings.handler_threads,
    )
    return CometChatChannel(
        settings.cometchat_app_id,
        client,
        bots={bot.name: bot for bot in bots},
        rich=settings.cometchat_rich,
        callback=_callback_settings(settings, bots),
        observe=observer.received,
    )


def _make_chat(settings: Settings, db: Database) -> Chat:
    try:
        from cometbot.chat import Chat
    except ImportError as error:
        raise _missing_chat_dependency(error) from error
    folder = settings.data / "files"
    return Chat(
        db,
        folder,
        max_total_size=settings.storage,
        min_free=settings.free_space,
        max_size=settings.database_size,
    )


def _make_chat_api(settings: Settings, bots: Sequence[Bot], observer: Observer, chat: Chat) -> Sequence[Channel]:
    try:
        from cometbot.channels.chat_api.setup import make_channels
    except ImportError as error:
        raise _missing_chat_dependency(error) from error
    return make_channels(settings, bots, observer, chat)


def _make_simplex(settings: Settings, bots: Sequence[Bot]) -> Channel:
    """SimpleX without its connection, which ``cometbot simplex`` holds: messages are handled, replies only stored."""
    from cometbot.channels.simplex.setup import make_channel

    return make_channel(settings, bots)


def _make_platform(settings: Settings, bots: Sequence[Bot], observer: Observer, chat: Chat) -> Sequence[Channel]:
    try:
        from cometbot.channels.platform.setup import make_channels
    except ImportError as error:
        raise _missing_chat_dependency(error) from error
    return make_channels(settings, bots, observer, chat)


def _missing_chat_dependency(error: ImportError) -> ConfigurationError:
    return ConfigurationError(
        f"COMETBOT_CHANNELS names a channel that needs {error.name}, which is not installed: "
        "pip install 'cometbot[chat]'"
    )


def _callback_settings(settings: Settings, bots: Sequence[Bot]) -> CallbackSettings:
    credentials = {
        bot.name: settings.callback_credentials(bot.name, bot.callback_username, bot.callback_password) for bot in bots
    }
    webhook = settings.cometchat_webhook_username, settings.cometchat_webhook_password.reveal()
    return CallbackSettings(
        credentials={name: (given.username, given.password.reveal()) for name, given in credentials.items() if given},
        webhook_credentials=webhook if all(webhook) else None,
        allow_anonymous=settings.allow_anonymous_callbacks,
        answer_disapproved=settings.cometchat_answer_disapproved,
        body_timeout=settings.body_timeout,
    )
