"""Assembles the WSGI application from bots, channels and delivery."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NoReturn
from weakref import WeakSet

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import HTTPException

from cometbot.bot import Bot
from cometbot.channels.base import Channel, DeliveryService
from cometbot.delivery import Delivery
from cometbot.errors import ConfigurationError, StoreBusy, StoreUnavailable
from cometbot.http.errors import quote_value, to_http_error
from cometbot.http.json_response import json_response
from cometbot.http.sse import STREAMS
from cometbot.loading import load_bots_or_explain
from cometbot.observer import Observer
from cometbot.settings import Settings
from cometbot.store.database import Database
from cometbot.store.factory import check_persistent, database_from_url
from cometbot.web.alerts import AlertWatcher, make_alert_watcher
from cometbot.web.application import Application
from cometbot.web.channels import channels_from_settings, make_blueprint
from cometbot.web.files import files_from_settings, make_file_views
from cometbot.web.health import make_health_views
from cometbot.web.logs import configure_logging
from cometbot.web.metrics import Metrics
from cometbot.web.open_files import FILES_PER_HANDLER, connection_limit, handler_limit, needed_files, raise_limit
from cometbot.web.proxies import TrustedProxies

APP_LOAD_ERROR = 4
"""The exit status after which gunicorn starts no other worker."""

_log = logging.getLogger(__name__)
_runtimes: WeakSet[AppRuntime] = WeakSet()


@dataclass(eq=False)
class AppRuntime:
    """The delivery and metrics of one application: ``app.extensions["cometbot"]``.

    Delivery starts once in each process: when gunicorn has initialized the worker, or else with the first request.
    Both are after the fork, which threads do not survive.
    """

    settings: Settings
    delivery: Delivery
    metrics: Metrics
    alerts: AlertWatcher
    handles: bool = True
    _is_stopped: bool = field(default=False, init=False)

    def start(self) -> None:
        """Start to handle messages in this process, if it handles any and has not started yet.

        Raises nothing if the database needs a repair: incoming messages are refused, and each request tries again.
        """
        if self.handles and not self._is_stopped and not self.delivery.is_running:
            with suppress(StoreUnavailable):
                self.delivery.start()
        if not self._is_stopped:
            self.alerts.start()

    def check_database(self) -> None:
        """Raise :class:`ConfigurationError` if :meth:`start` or :meth:`check_schema` would raise it."""
        self.check_schema()
        if self.handles:
            with suppress(StoreUnavailable):
                self.delivery.database.open()

    def check_schema(self) -> None:
        """Raise :class:`ConfigurationError` if this version cannot work with the database's schema.

        A database that cannot be reached now is no error: callbacks are answered with 503 until it is back.
        """
        with suppress(StoreBusy):
            if not self.handles and (problem := self.delivery.database.schema_problem()):
                raise ConfigurationError(problem)

    def stop(self) -> None:
        """Stop handling for good.

        Running handlers get ``settings.stop_timeout`` seconds to finish; all other messages stay stored.
        """
        self._is_stopped = True
        self.alerts.stop()
        self.delivery.close()


def create_app(
    bots: Bot | Iterable[Bot],
    settings: Settings | None = None,
    channels: Sequence[Channel] | None = None,
    *,
    blueprints: Iterable[Callable[[DeliveryService], Blueprint]] = (),
    handles: bool = True,
) -> Flask:
    """Create the application that receives messages for ``bots`` and answers them.

    It has the routes of ``channels`` (None: those that the settings name), ``/healthz``, ``/readyz`` and ``/metrics``,
    and can be mounted under another WSGI application. The routes of a channel of your own come from ``blueprints``:
    each is called with the delivery, in which the views store events, and returns a blueprint. Without ``handles`` the
    application only receives; handlers run in other processes. Raises :class:`ConfigurationError` for settings that
    cannot work, or that would accept unauthenticated callers.

    ::

        app = create_app(bot)
        site.wsgi_app = DispatcherMiddleware(site.wsgi_app, {"/bots": app})
    """
    settings = settings or Settings.from_environment()
    bot_list = [bots] if isinstance(bots, Bot) else list(bots)
    _check_names(bot_list, settings)
    metrics = Metrics((bot.name for bot in bot_list), settings.cometchat_apps)
    db = database_from_url(settings.database_url)
    if channels is None:
        channels = channels_from_settings(settings, bot_list, metrics, db)
    delivery = _make_delivery(settings, bot_list, channels, metrics, db)
    STREAMS.set_limit(settings.streams)
    STREAMS.address_limit = settings.address_streams
    STREAMS.other_waiting_threads = settings.max_moderations
    # On a database server, `cometbot worker` processes run the handlers, and web processes only receive.
    handles = handles and not delivery.database.server_url
    alerts = make_alert_watcher(settings, delivery, metrics)
    runtime = AppRuntime(settings, delivery, metrics, alerts, handles)
    _runtimes.add(runtime)
    app = Application("cometbot", static_folder=None, before_each_request=runtime.start)
    app.extensions["cometbot"] = runtime
    _add_channel_views(app, delivery, blueprints)
    app.register_blueprint(make_health_views(delivery.checks))
    app.register_blueprint(make_file_views(delivery.store.files))
    app.register_blueprint(metrics.blueprint(delivery.backlog))
    app.register_error_handler(HTTPException, _to_json)
    for bot in bot_list:
        bot.connect(delivery)
    if settings.trusted_proxies:
        app.wsgi_app = TrustedProxies(app.wsgi_app, settings.trusted_proxies)  # type: ignore[method-assign]
    return app


def create_app_from_settings(settings: Settings | None = None) -> Flask:
    """Configure logging, and create the application of the bots that ``settings.bot`` names.

    Without ``settings``, the environment is read.
    """
    settings = settings or Settings.from_environment()
    configure_logging(settings.log_format, settings.log_level)
    check_persistent(settings.database_url)
    bots = load_bots_or_explain(settings.default_bot_spec)
    weak = (settings.weak_password_warning(bot.name, bot.callback_password) for bot in bots)
    uncalled = _warn_about_moderation(settings, bots)
    for sentence in (
        *settings.warnings,
        *settings.check_bots(bot.name for bot in bots),
        *filter(None, weak),
        *uncalled,
    ):
        _log.warning("check the settings: %s", sentence)
    return create_app(bots, settings)


def load_app(settings: Settings | None = None) -> Flask:
    """Create the application like :func:`create_app_from_settings`, or exit with a one-line error.

    The process exits for wrong settings and for a bot that cannot be imported.
    """
    try:
        return create_app_from_settings(settings)
    except ConfigurationError as error:
        _log.debug("cannot create the application", exc_info=error)
        exit_with_error(error)


def connect_from_settings(bot: Bot) -> None:
    """Connect ``bot`` in a process without an application, such as a script, so that ``bot.send(…)`` works.

    The messages are stored here and sent by the processes that handle messages.
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
    """Create the delivery and the metrics of a process that serves no callbacks, and connect the bots to it.

    ``spec`` names the bots. ``threads`` overrides ``settings.handler_threads``. ``make_channels`` replaces the channels
    that the settings name. Without ``handles`` the process only sends, to the channels whose connection it holds.
    """
    check_persistent(settings.database_url)
    bots = load_bots_or_explain(spec)
    _check_names(bots, settings)
    worker_settings = settings if threads is None else replace(settings, handler_threads=threads)
    metrics = Metrics((bot.name for bot in bots), settings.cometchat_apps)
    db = database_from_url(worker_settings.database_url)
    if make_channels is None:
        channels: Sequence[Channel] = channels_from_settings(worker_settings, bots, metrics, db)
    else:
        channels = make_channels(bots, metrics, db)
    delivery = _make_delivery(worker_settings, bots, channels, metrics, db, handles=handles)
    for bot in bots:
        bot.connect(delivery)
    return delivery, metrics


def start_all() -> None:
    """Start to handle messages for every application of this process; exit on a configuration error."""
    for runtime in list(_runtimes):
        try:
            runtime.check_schema()
            runtime.start()
        except ConfigurationError as error:
            exit_with_error(error)


def check_all() -> None:
    """Raise :class:`ConfigurationError` if :func:`start_all` would exit."""
    for runtime in list(_runtimes):
        runtime.check_database()


def stop_all() -> None:
    """Stop handling for every application of this process."""
    for runtime in list(_runtimes):
        runtime.stop()


def exit_with_error(error: ConfigurationError) -> NoReturn:
    """Print the error in one line, and exit with the status after which gunicorn starts no other worker."""
    print(f"cometbot: {error}", file=sys.stderr, flush=True)
    sys.exit(APP_LOAD_ERROR)


def _check_names(bots: Sequence[Bot], settings: Settings) -> None:
    names = [bot.name for bot in bots]
    if not names:
        raise ConfigurationError("create_app(): expected a bot or a list of bots, got none")
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise ConfigurationError(
            f"two bots have the name {duplicates[0]!r}. Rename one: callbacks find a bot by its name."
        )
    settings.check_bots(names)


def _warn_about_moderation(settings: Settings, bots: Sequence[Bot]) -> Iterator[str]:
    if "cometchat" not in settings.channels:
        for bot in bots:
            if bot.moderation is not None:
                yield (
                    f"the bot {bot.name} has a function for moderation, which only CometChat calls; "
                    "COMETBOT_CHANNELS does not name cometchat"
                )


def _make_delivery(
    settings: Settings,
    bots: Sequence[Bot],
    channels: Sequence[Channel],
    observer: Observer,
    db: Database,
    *,
    handles: bool = True,
) -> Delivery:
    max_threads = handler_limit(settings)
    raise_limit(needed_files(connection_limit(settings)) + FILES_PER_HANDLER * max_threads)
    return Delivery(
        bots,
        channels,
        db,
        threads=settings.handler_threads,
        max_threads=max_threads,
        handler_timeout=settings.handler_timeout,
        keep_days=settings.keep_days,
        observer=observer,
        stop_timeout=settings.stop_timeout,
        handles=handles,
        files=files_from_settings(settings, db),
    )


def _add_channel_views(
    app: Flask, delivery: Delivery, blueprints: Iterable[Callable[[DeliveryService], Blueprint]]
) -> None:
    for channel in delivery.channels.all:
        if blueprint := make_blueprint(channel, delivery):
            app.register_blueprint(blueprint)
    for make in blueprints:
        app.register_blueprint(make(delivery))


def _to_json(error: HTTPException) -> Response:
    """Return an HTTP error as JSON, in CometChat's envelope, which the errors of callbacks have too."""
    texts = {
        404: f"no route for {quote_value(request.path)}. Callbacks go to /cometchat/NAME-OF-THE-BOT, with several apps "
        "to /cometchat/NAME-OF-THE-APP/NAME-OF-THE-BOT.",
        405: f"the method {request.method} is not allowed here. The header Allow lists those that are.",
        500: "internal server error. The log has the traceback.",
    }
    refusal = to_http_error(error)
    body = {"error": {"code": refusal.code, "message": texts.get(refusal.status, error.description)}}
    return json_response(body, refusal.status, refusal.headers)
