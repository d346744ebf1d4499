"""The settings, read from the environment and a ``.env`` file. Every error explains what to set instead."""

from __future__ import annotations

import difflib
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

from dotenv import dotenv_values

from cometbot.absolute_paths import absolute_bind, absolute_database_url, absolute_path
from cometbot.alert_targets import AlertTarget, parse_alert_targets
from cometbot.app_settings import (
    APPS_VARIABLE,
    check_names,
    describe_stray,
    is_app_variable,
    list_stray_variables,
    parse_app_names,
    read_app_values,
)
from cometbot.app_settings import variable_suffix as variable_suffix
from cometbot.errors import ConfigurationError
from cometbot.setting_values import MIN_SECRET_LENGTH as MIN_SECRET_LENGTH
from cometbot.setting_values import Secret as Secret
from cometbot.setting_values import TrustedProxy as TrustedProxy
from cometbot.setting_values import (
    parse_alphanumeric,
    parse_api_url,
    parse_bind,
    parse_bytes,
    parse_database_url,
    parse_display_name,
    parse_flag,
    parse_header_name,
    parse_integer,
    parse_names,
    parse_one_of,
    parse_origins,
    parse_proxies,
    parse_seconds,
    parse_strong_secret,
    parse_tokens,
    parse_url,
    parse_username,
)

_PREFIXES = ("COMETBOT_", "COMETCHAT_", "SIMPLEX_", "CHAT_API_", "PLATFORM_", "AGUI_")
_GENERAL_PREFIXES = ("CHAT_API_", "PLATFORM_")
"""Prefixes that other programs use too: only a name close to a known one counts as a mistake."""

_TEST_PREFIX = "COMETBOT_TEST_"
_DEFAULT_DATA_FOLDER = Path("cometbot-data")
_KNOWN_REGIONS = ("us", "eu", "in")
"""The regions that CometChat documents. There may be others."""

DEFAULT_BOT_FILE = "bot.py"
"""The file whose only bot is used if no bot is named."""
_PLATFORM_CONFIG_PREFIXES = ("PLATFORM_SERVICE_", "PLATFORM_LIMITS_")
"""The prefixes of the variables that the platform channel checks against its own configuration."""

_CHAT_CHANNELS = frozenset({"chat_api", "platform", "agui"})
"""Channels that store users and chats in the database, and whose clients keep event streams open."""

_CALLABLE_URLS = ("https://", "http://localhost:", "http://127.0.0.1:")
"""The beginnings of public URLs that apps may call: those of this machine are for the simulator."""


_NO_SECRET = Secret()

WEAK_SECRET_TEXT = f"has fewer than {MIN_SECRET_LENGTH} characters and can be guessed; set a longer random one"


def is_weak(password: str | Secret) -> bool:
    """Return whether ``password`` is set and short enough to be guessed."""
    return 0 < len(password.reveal() if isinstance(password, Secret) else password) < MIN_SECRET_LENGTH


class Credentials(NamedTuple):
    """The username and password that a caller must send. While it changes, the ``previous`` password counts too."""

    username: str
    password: Secret
    previous: Secret = _NO_SECRET


def variable_name(setting: str) -> str:
    """Return the environment variable of a setting.

    ``threads`` is ``COMETBOT_THREADS``, ``simplex_url`` is ``SIMPLEX_URL``.
    """
    name = setting.upper()
    return name if name.startswith(_PREFIXES) else f"COMETBOT_{name}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings. The attribute ``threads`` is the variable ``COMETBOT_THREADS``.

    Attributes that begin with a channel's name (``cometchat_…``, ``simplex_…``, ``chat_api_…``, ``platform_…``,
    ``agui_…``) are variables without the prefix ``COMETBOT_``. Times are in seconds.
    """

    bot: Annotated[str, str] = ""
    channels: Annotated[tuple[str, ...], parse_names] = ("cometchat",)
    database_url: Annotated[str, parse_database_url] = field(default="sqlite:///cometbot.db", repr=False)
    data: Annotated[Path, Path] = _DEFAULT_DATA_FOLDER
    storage: Annotated[int, parse_bytes] = 10 * 1024**3
    free_space: Annotated[int, parse_bytes] = 256 * 1024**2
    database_size: Annotated[int, parse_bytes] = 10 * 1024**3
    public_url: Annotated[str, parse_url("https", "http", example="https://bots.example.com")] = ""
    secret_key: Annotated[Secret, parse_strong_secret] = _NO_SECRET

    callback_username: Annotated[str, parse_username] = ""
    callback_password: Annotated[Secret, Secret] = _NO_SECRET
    callback_previous_password: Annotated[Secret, Secret] = _NO_SECRET
    allow_anonymous_callbacks: Annotated[bool, parse_flag] = False
    allow_private_webhooks: Annotated[bool, parse_flag] = False
    body_timeout: Annotated[float, parse_seconds] = 10.0

    bind: Annotated[str, parse_bind] = "0.0.0.0:8000"
    socket_group: Annotated[str, str] = ""
    processes: Annotated[int, parse_integer()] = 2
    threads: Annotated[int, parse_integer()] = 8
    streams: Annotated[int, parse_integer(0)] = 500
    address_streams: Annotated[int | None, parse_integer(0)] = None
    trusted_proxies: Annotated[tuple[TrustedProxy, ...], parse_proxies] = ()

    handler_threads: Annotated[int, parse_integer()] = 8
    max_handler_threads: Annotated[int, parse_integer()] = 2000
    handler_timeout: Annotated[float, parse_seconds] = 300.0
    stop_timeout: Annotated[float, parse_seconds] = 20.0
    keep_days: Annotated[int, parse_integer()] = 7
    mcp_token: Annotated[Secret, parse_strong_secret] = _NO_SECRET

    alerts: Annotated[tuple[AlertTarget, ...], parse_alert_targets] = ()
    alert_after: Annotated[float, parse_seconds] = 300.0
    log_format: Annotated[str, parse_one_of("text", "json")] = "text"
    log_level: Annotated[str, parse_one_of("debug", "info", "warning", "error", "critical")] = "info"

    cometchat_apps: Annotated[tuple[str, ...], parse_app_names] = ()
    cometchat_app_id: Annotated[str, parse_alphanumeric] = ""
    cometchat_region: Annotated[str, parse_alphanumeric] = ""
    cometchat_api_key: Annotated[Secret, Secret] = _NO_SECRET
    cometchat_api_url: Annotated[str, parse_api_url] = ""
    cometchat_rich: Annotated[Literal["text", "interactive", "card"], parse_one_of("text", "interactive", "card")] = (
        "text"
    )
    cometchat_card_buttons: Annotated[Literal["message", "url"], parse_one_of("message", "url")] = "message"
    cometchat_answer_disapproved: Annotated[bool, parse_flag] = False
    cometchat_webhook_username: Annotated[str, parse_username] = ""
    cometchat_webhook_password: Annotated[Secret, Secret] = _NO_SECRET
    cometchat_webhook_previous_password: Annotated[Secret, Secret] = _NO_SECRET
    cometchat_moderation_username: Annotated[str, parse_username] = ""
    cometchat_moderation_password: Annotated[Secret, Secret] = _NO_SECRET
    cometchat_moderation_previous_password: Annotated[Secret, Secret] = _NO_SECRET
    cometchat_allow_anonymous_moderation: Annotated[bool, parse_flag] = False
    cometchat_moderation_threads: Annotated[int, parse_integer()] = 32

    simplex_url: Annotated[str, parse_url("ws", "wss", example="wss://user:password@host/")] = field(
        default="ws://localhost:5225", repr=False
    )
    simplex_allow_unencrypted: Annotated[bool, parse_flag] = False
    simplex_profile: Annotated[str, str] = ""
    simplex_display_name: Annotated[str, parse_display_name] = ""
    simplex_address: Annotated[bool, parse_flag] = True
    simplex_auto_accept: Annotated[bool, parse_flag] = True
    simplex_business_address: Annotated[bool, parse_flag] = False
    simplex_welcome: Annotated[str, str] = ""
    simplex_group_messages: Annotated[Literal["addressed", "all"], parse_one_of("addressed", "all")] = "addressed"
    simplex_accept_files: Annotated[bool, parse_flag] = True
    simplex_files: Annotated[str, str] = ""
    simplex_files_here: Annotated[str, str] = ""
    simplex_file_limit: Annotated[int, parse_integer()] = 100_000_000

    chat_api_encryption_key: Annotated[Secret, parse_strong_secret] = _NO_SECRET
    chat_api_webhook_url: Annotated[str, parse_url("https", "http", example="https://example.com/hook")] = ""
    chat_api_webhook_secret: Annotated[Secret, Secret] = _NO_SECRET
    chat_api_origins: Annotated[tuple[str, ...], parse_origins] = ()
    chat_api_requests: Annotated[int, parse_integer(0)] = 600
    chat_api_streams: Annotated[int, parse_integer()] = 100
    chat_api_conversations: Annotated[int, parse_integer()] = 1000
    chat_api_signups: Annotated[int, parse_integer(0)] = 60

    agui_token: Annotated[tuple[Secret, ...], parse_tokens] = ()
    agui_user_header: Annotated[str, parse_header_name] = ""
    agui_custom_events: Annotated[bool, parse_flag] = False

    platform_admin_secret_key: Annotated[Secret, parse_strong_secret] = _NO_SECRET
    platform_jwt_secret_key: Annotated[Secret, parse_strong_secret] = _NO_SECRET
    platform_config: Annotated[str, str] = ""
    platform_join_replies: Annotated[bool, parse_flag] = False
    platform_messages: Annotated[int, parse_integer(0)] = 60
    platform_requests: Annotated[int, parse_integer(0)] = 3000
    platform_signups: Annotated[int, parse_integer(0)] = 60
    platform_storage: Annotated[int, parse_integer()] = 268_435_456
    platform_fields: Mapping[str, str] = field(default_factory=dict)
    """Fields of the platform's config file that are set as variables, by the name of the variable."""

    chat_api_encryption_keys: Mapping[str, Secret] = field(default_factory=dict)
    """Encryption keys of single bots, by the suffix of the variable: ``{"HELPDESK": …}``."""

    bot_credentials: Mapping[str, Credentials] = field(default_factory=dict)
    """Credentials of single bots and apps, by the suffix of the variable: ``{"HELPDESK": …}``."""

    previous_passwords: Mapping[str, Secret] = field(default_factory=dict)
    """Previous callback passwords of single bots and apps, by the suffix of the variable."""

    app_values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The settings that single apps of :attr:`cometchat_apps` have of their own, by the app's name."""

    cometchat_app: str = ""
    """The app of which these are the settings (see :meth:`for_app`); empty without :attr:`cometchat_apps`."""

    warnings: tuple[str, ...] = ()
    """Warnings about unknown settings, weak passwords, an untrusted socket and an unknown region."""

    def __post_init__(self) -> None:
        """Make every path absolute: a bot's code may change the working directory later."""
        absolute: dict[str, object] = {
            "data": Path(absolute_path(str(self.data))),
            "database_url": absolute_database_url(self.database_url),
            "bind": absolute_bind(self.bind),
            "platform_config": absolute_path(self.platform_config),
            "simplex_files_here": absolute_path(self.simplex_files_here),
        }
        # Without simplex_files_here, the SimpleX CLI and this process use the same path for the folder.
        if not self.simplex_files_here:
            absolute["simplex_files"] = absolute_path(self.simplex_files)
        for name, value in absolute.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] | None = None, dotenv: str | os.PathLike[str] | None = ".env"
    ) -> Settings:
        """Read the settings from ``environ`` (None: the process's own). The file ``dotenv`` supplies missing ones.

        A file that does not exist and an empty variable count as not set. Raises :class:`ConfigurationError` with one
        sentence: the variable, what is wrong with it, and what to set.
        """
        merged = {**_load_dotenv(dotenv), **(os.environ if environ is None else environ)}
        given = {name: text for name, text in merged.items() if text.strip() and name.startswith(_PREFIXES)}
        values: dict[str, Any] = {}
        for setting, read in _parsers().items():
            name = variable_name(setting)
            if name in given:
                values[setting] = _parse(name, given[name], read)
        _check_pair(given, "COMETBOT_CALLBACK")
        _check_pair(given, "COMETCHAT_WEBHOOK")
        _check_pair(given, "COMETCHAT_MODERATION")
        fields = {name: text for name, text in given.items() if name.startswith(_PLATFORM_CONFIG_PREFIXES)}
        apps = values.get("cometchat_apps", ())
        app_values = read_app_values(given, apps, _variable_parsers(), _parse)
        # COMETCHAT_APPS= in the environment switches the apps of a .env file off.
        stray = [] if APPS_VARIABLE in merged and not apps else list_stray_variables(given, apps, _variable_parsers())
        for app in apps:
            _check_pair(_variables_of_app(given, app), "COMETCHAT_WEBHOOK")
            _check_pair(_variables_of_app(given, app), "COMETCHAT_MODERATION")
        return cls(
            **values,
            chat_api_encryption_keys=_bot_keys(given),
            platform_fields=fields,
            bot_credentials=_bot_credentials(given),
            previous_passwords=_previous_passwords(given),
            app_values={
                app: {name.lower(): value for name, value in of_app.items()} for app, of_app in app_values.items()
            },
            warnings=(
                *_unknown_setting_warnings(given, apps),
                *(describe_stray(name, apps) for name in stray),
                *_weak_password_warnings(given),
                *_untrusted_socket_warning(values),
                *_unknown_region_warning(values),
                *_region_warnings_of_apps(values, app_values),
            ),
        )

    def for_app(self, name: str) -> Settings:
        """Return the settings of one app of :attr:`cometchat_apps`.

        Raises :class:`ConfigurationError` for any other name.
        """
        if name not in self.cometchat_apps:
            raise ConfigurationError(
                f"the app {name!r} is not in {APPS_VARIABLE}, which has: {', '.join(self.cometchat_apps) or 'none'}"
            )
        return replace(self, cometchat_app=name, **self.app_values.get(name, {}))

    def split_apps(self) -> list[Settings]:
        """Return the settings of each app; without :attr:`cometchat_apps`, these alone."""
        if self.cometchat_app or not self.cometchat_apps:
            return [self]
        return [self.for_app(name) for name in self.cometchat_apps]

    @property
    def callback_path(self) -> str:
        """The path below which CometChat calls the bots of this app."""
        return f"/cometchat/{self.cometchat_app}" if self.cometchat_app else "/cometchat"

    @property
    def callback_paths(self) -> tuple[str, ...]:
        """:attr:`callback_path`, and further ones that are served for what is registered on CometChat.

        An app that has no id of its own, but that of ``COMETCHAT_APP_ID``, may have been the only one before.
        """
        is_plain = "cometchat_app_id" not in self.app_values.get(self.cometchat_app, {})
        return tuple(dict.fromkeys((self.callback_path, "/cometchat"))) if is_plain else (self.callback_path,)

    @property
    def default_bot_spec(self) -> str:
        """The bot to serve: ``bot``, or if that is not set, ``bot.py`` in the current folder, if it exists."""
        return self.bot or (DEFAULT_BOT_FILE if Path(DEFAULT_BOT_FILE).is_file() else "")

    def callback_credentials(
        self, bot_name: str, username_in_code: str = "", password_in_code: str | Secret = ""
    ) -> Credentials | None:
        """Return the credentials that CometChat must send to call ``bot_name``, or None if none are set.

        Variables of the app take precedence over those of the bot, these over the bot's code, and that over the
        variables for all bots. Raises :class:`ConfigurationError` if the code sets only one of username and password.
        """
        for suffix in self._suffixes(bot_name):
            if own := self.bot_credentials.get(suffix):
                return own
        password = password_in_code if isinstance(password_in_code, Secret) else Secret(password_in_code)
        if bool(username_in_code) != bool(password):
            raise ConfigurationError(
                f"the bot {bot_name!r} has only one of callback_username and callback_password; give it both or neither"
            )
        if username_in_code:
            username = _parse(f"callback_username of the bot {bot_name!r}", username_in_code, parse_username)
            previous = self.previous_passwords.get(variable_suffix(bot_name), self.callback_previous_password)
            return Credentials(username, password, previous)
        if self.callback_username and self.callback_password:
            return Credentials(self.callback_username, self.callback_password, self.callback_previous_password)
        return None

    def _suffixes(self, bot_name: str) -> tuple[str, ...]:
        """Return the suffixes of the variables that may set a bot's credentials, the first of which counts."""
        bot, app = variable_suffix(bot_name), variable_suffix(self.cometchat_app)
        return (f"{app}__{bot}", app, bot) if app else (bot,)

    def weak_password_warning(self, bot_name: str, password_in_code: str | Secret = "") -> str:
        """Return a warning if the callback password in a bot's code is used and weak, else an empty text."""
        is_used = self.bot_credentials.keys().isdisjoint(self._suffixes(bot_name))
        return (
            f"callback_password of the bot {bot_name!r} {WEAK_SECRET_TEXT}"
            if is_used and is_weak(password_in_code)
            else ""
        )

    def check_bots(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return warnings about credentials that belong to none of the bots ``names``, and to no app.

        Raises :class:`ConfigurationError` for two bots or apps whose variables would have the same name.
        """
        known = check_names(self.cometchat_apps, list(names))
        kinds = "bot or app" if self.cometchat_apps else "bot"
        unknown = [suffix for suffix in self.bot_credentials if suffix not in known]
        return tuple(
            f"COMETBOT_CALLBACK_USERNAME__{suffix} belongs to no {kinds} that is served here{_suggest(suffix, known)}"
            for suffix in unknown
        )

    @property
    def max_open_streams(self) -> int:
        """The event streams that a process may keep open; 0 if no channel has any."""
        return self.streams if self.has_chat_channel else 0

    @property
    def moderation_credentials(self) -> Credentials | None:
        """The credentials that CometChat's moderation must send, or None if none are set."""
        if not self.cometchat_moderation_username or not self.cometchat_moderation_password:
            return None
        return Credentials(
            self.cometchat_moderation_username,
            self.cometchat_moderation_password,
            self.cometchat_moderation_previous_password,
        )

    @property
    def max_moderations(self) -> int:
        """The messages that a process judges at a time for CometChat's moderation; 0 if that has no access."""
        return sum(settings._count_moderations() for settings in self.split_apps())

    def _count_moderations(self) -> int:
        has_access = self.moderation_credentials is not None or self.cometchat_allow_anonymous_moderation
        return self.cometchat_moderation_threads if has_access and "cometchat" in self.channels else 0

    @property
    def has_chat_channel(self) -> bool:
        """True if a channel stores users and their chats in the database, as the platform does."""
        return not _CHAT_CHANNELS.isdisjoint(self.channels)

    @property
    def has_signed_addresses(self) -> bool:
        """True if buttons or forms of CometChat call addresses of this server; forms do where users can reach it."""
        has_forms = self.cometchat_rich == "interactive" and self.public_url.startswith(_CALLABLE_URLS)
        return has_forms or self.cometchat_card_buttons == "url"

    @property
    def cometchat_base_url(self) -> str:
        """The REST API's base URL with its version. Raises :class:`ConfigurationError` if it is not configured."""
        if self.cometchat_api_url:
            return self.cometchat_api_url
        if not self.cometchat_app_id or not self.cometchat_region:
            suffix = f"__{variable_suffix(self.cometchat_app)}" if self.cometchat_app else ""
            missing = "COMETCHAT_REGION" if self.cometchat_app_id else "COMETCHAT_APP_ID"
            raise ConfigurationError(
                f"{missing}{suffix} is not set; copy the app id, the region and a REST API key from CometChat's "
                f"dashboard into COMETCHAT_APP_ID{suffix}, COMETCHAT_REGION{suffix} and COMETCHAT_API_KEY{suffix}"
            )
        return f"https://{self.cometchat_app_id}.api-{self.cometchat_region}.cometchat.io/v3"


@functools.cache
def _parsers() -> dict[str, Callable[[str], Any]]:
    hints = get_type_hints(Settings, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}


@functools.cache
def _variable_parsers() -> dict[str, Callable[[str], Any]]:
    return {variable_name(setting): parse for setting, parse in _parsers().items()}


def _load_dotenv(path: str | os.PathLike[str] | None) -> dict[str, str]:
    if path is None or not Path(path).is_file():
        return {}
    try:
        return {name: text for name, text in dotenv_values(path, interpolate=False).items() if text is not None}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read as UTF-8 text ({error}); correct or remove it") from error


def _parse(name: str, text: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(text.strip())
    except ValueError as error:
        raise ConfigurationError(f"{name}: {error}") from error


def _check_pair(given: Mapping[str, str], stem: str, suffix: str = "") -> None:
    names = (f"{stem}_USERNAME{suffix}", f"{stem}_PASSWORD{suffix}")
    missing = [name for name in names if name not in given]
    if len(missing) == 1:
        present = names[1 - names.index(missing[0])]
        raise ConfigurationError(f"{present} is set and {missing[0]} is not; set both or neither")


def _by_bot(given: Mapping[str, str], setting: str) -> dict[str, str]:
    """Return the variables of single bots for ``setting``, by their suffix."""
    suffixes = {name: name.removeprefix(f"{setting}__") for name in given if name.startswith(f"{setting}__")}
    return {suffix: given[name] for name, suffix in suffixes.items() if re.fullmatch(r"[A-Z0-9_]+", suffix)}


def _bot_credentials(given: Mapping[str, str]) -> dict[str, Credentials]:
    name = "COMETBOT_CALLBACK_USERNAME"
    usernames, passwords = _by_bot(given, name), _by_bot(given, "COMETBOT_CALLBACK_PASSWORD")
    found = {}
    for suffix in sorted({*usernames, *passwords}):
        _check_pair(given, "COMETBOT_CALLBACK", f"__{suffix}")
        username = _parse(f"{name}__{suffix}", usernames[suffix], parse_username)
        previous = _previous_passwords(given).get(suffix, _NO_SECRET)
        found[suffix] = Credentials(username, Secret(passwords[suffix].strip()), previous)
    return found


def _previous_passwords(given: Mapping[str, str]) -> dict[str, Secret]:
    found = _by_bot(given, "COMETBOT_CALLBACK_PREVIOUS_PASSWORD")
    return {suffix: Secret(text.strip()) for suffix, text in found.items()}


def _variables_of_app(given: Mapping[str, str], app: str) -> dict[str, str]:
    """Return the variables as they are for one app: its own ones have the names of those for all."""
    suffix = f"__{variable_suffix(app)}"
    own = {name.removesuffix(suffix): text for name, text in given.items() if name.endswith(suffix)}
    return {**given, **own}


def _bot_keys(given: Mapping[str, str]) -> dict[str, Secret]:
    name = "CHAT_API_ENCRYPTION_KEY"
    keys = _by_bot(given, name)
    return {suffix: _parse(f"{name}__{suffix}", text, parse_strong_secret) for suffix, text in keys.items()}


def _weak_password_warnings(given: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each password that is short enough to be guessed."""
    pattern = re.compile(
        r"(?:COMETBOT_CALLBACK|COMETCHAT_(?:WEBHOOK|MODERATION))_(?:PREVIOUS_)?PASSWORD(?:__[A-Z0-9_]+)?"
        r"|CHAT_API_WEBHOOK_SECRET"
    )
    for name in sorted(given):
        if pattern.fullmatch(name) and is_weak(given[name].strip()):
            yield f"{name} {WEAK_SECRET_TEXT}"


def _unknown_setting_warnings(given: Mapping[str, str], apps: Sequence[str]) -> Iterator[str]:
    known = list(_variable_parsers())
    of_one_bot = re.compile(
        r"(?:COMETBOT_CALLBACK_(?:USERNAME|(?:PREVIOUS_)?PASSWORD)|CHAT_API_ENCRYPTION_KEY)__[A-Z0-9_]+"
    )
    checked_elsewhere = (_TEST_PREFIX, *_PLATFORM_CONFIG_PREFIXES)
    stray = list_stray_variables(given, apps, _variable_parsers())
    for name in sorted(given):
        if name in known or name.startswith(checked_elsewhere) or of_one_bot.fullmatch(name):
            continue
        if name in stray or is_app_variable(name, apps, _variable_parsers()):
            continue
        is_general = name.startswith(_GENERAL_PREFIXES)
        suggestion = _suggest(name, known, cutoff=0.9 if is_general else 0.6)
        if suggestion or not is_general:
            yield f"unknown setting {name} is ignored{suggestion}"


def _untrusted_socket_warning(values: Mapping[str, Any]) -> Iterator[str]:
    if values.get("bind", "").startswith("unix:") and "unix" not in values.get("trusted_proxies", ()):
        yield (
            "COMETBOT_BIND names a unix socket, whose callers have no address, so that limits count them together; "
            "add unix to COMETBOT_TRUSTED_PROXIES if only your proxy uses the socket"
        )


def _unknown_region_warning(values: Mapping[str, Any], variable: str = "COMETCHAT_REGION") -> Iterator[str]:
    region = values.get("cometchat_region", "")
    if region and region not in _KNOWN_REGIONS and not values.get("cometchat_api_url"):
        yield (
            f"{variable}: expected {', '.join(_KNOWN_REGIONS)}, got {region!r}"
            f"{_suggest(region, _KNOWN_REGIONS) or '.'} "
            "With a wrong region CometChat cannot be reached, and replies wait."
        )


def _region_warnings_of_apps(values: Mapping[str, Any], app_values: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for app, of_app in app_values.items():
        if "COMETCHAT_REGION" in of_app:
            own = {name.lower(): value for name, value in of_app.items()}
            yield from _unknown_region_warning({**values, **own}, f"COMETCHAT_REGION__{variable_suffix(app)}")


def _suggest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""
