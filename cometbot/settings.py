"""The settings, read from the environment and a ``.env`` file. Every error explains what to set instead."""

from __future__ import annotations

import difflib
import functools
import hmac
import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values

from cometbot.absolute_paths import absolute_bind, absolute_database_url, absolute_path
from cometbot.errors import ConfigurationError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

TrustedProxy = Network | Literal["unix"]
"""A peer that is a proxy: a network, or any peer on a unix socket."""

_PREFIXES = ("COMETBOT_", "COMETCHAT_", "SIMPLEX_", "CHAT_API_", "PLATFORM_")
_GENERAL_PREFIXES = ("CHAT_API_", "PLATFORM_")
"""Prefixes that other programs use too: only a name close to a known one counts as a mistake."""

_TEST_PREFIX = "COMETBOT_TEST_"
_TRUE_WORDS = ("1", "true", "yes", "on")
_FALSE_WORDS = ("0", "false", "no", "off")
_DEFAULT_DATA_FOLDER = Path("cometbot-data")
_KNOWN_REGIONS = ("us", "eu", "in")
"""The regions that CometChat documents. There may be others."""

DEFAULT_BOT_FILE = "bot.py"
"""The file whose only bot is used if no bot is named."""
_PLATFORM_CONFIG_PREFIXES = ("PLATFORM_SERVICE_", "PLATFORM_LIMITS_")
"""The prefixes of the variables that the platform channel checks against its own configuration."""

_CHAT_CHANNELS = frozenset({"chat_api", "platform"})
_CALLABLE_URLS = ("https://", "http://localhost:", "http://127.0.0.1:")
"""The beginnings of public URLs that apps may call: those of this machine are for the simulator."""
"""Channels that store users and chats in the database, and whose clients keep event streams open."""


class Secret:
    """A text that ``str`` and ``repr`` show as ``***``. Only :meth:`reveal` returns it."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._to_bytes(), other._to_bytes())

    def __hash__(self) -> int:
        return hash(self._text)

    def _to_bytes(self) -> bytes:
        # Python decodes bytes in the environment that are not valid UTF-8 to surrogates.
        return self._text.encode("utf-8", "surrogateescape")

    def __repr__(self) -> str:
        return "***" if self._text else "''"

    __str__ = __repr__


_NO_SECRET = Secret()

MIN_SECRET_LENGTH = 16
"""The characters of the shortest secret that does not count as weak."""


WEAK_SECRET_TEXT = f"has fewer than {MIN_SECRET_LENGTH} characters and can be guessed; set a longer random one"


def is_weak(password: str | Secret) -> bool:
    """Return whether ``password`` is set and short enough to be guessed."""
    return 0 < len(password.reveal() if isinstance(password, Secret) else password) < MIN_SECRET_LENGTH


class Credentials(NamedTuple):
    """The username and password that a caller must send."""

    username: str
    password: Secret


def variable_suffix(bot_name: str) -> str:
    """Return a bot's name as the suffix of a variable: ``help-desk`` becomes ``HELP_DESK``."""
    return re.sub(r"[^A-Z0-9]", "_", bot_name.upper())


def variable_name(setting: str) -> str:
    """Return the environment variable of a setting.

    ``threads`` is ``COMETBOT_THREADS``, ``simplex_url`` is ``SIMPLEX_URL``.
    """
    name = setting.upper()
    return name if name.startswith(_PREFIXES) else f"COMETBOT_{name}"


def _flag(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE_WORDS + _FALSE_WORDS:
        raise ValueError(f"expected 1 or 0, got {text!r}")
    return word in _TRUE_WORDS


def _integer(at_least: int = 1) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) < at_least:
            raise ValueError(f"expected a whole number from {at_least} up, such as {max(at_least, 8)}, got {text!r}")
        return int(text)

    return read


def _bytes(text: str) -> int:
    if not re.fullmatch(r"\d{1,15}", text, re.ASCII):
        raise ValueError(f"expected a number of bytes, such as 10737418240, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d+)?", text, re.ASCII) or not float(text) > 0:
        raise ValueError(f"expected a number of seconds above 0, such as 30 or 0.5, got {text!r}")
    return float(text)


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"expected {', '.join(words[:-1])} or {words[-1]}, got {text!r}")
        return text.lower()

    return parse


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip().lower())))


def _proxies(text: str) -> tuple[TrustedProxy, ...]:
    proxies: list[TrustedProxy] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            proxies.append("unix" if part.lower() == "unix" else ipaddress.ip_network(part, strict=False))
        except ValueError:
            raise ValueError(
                f"expected addresses or networks such as 127.0.0.1,10.0.0.0/8, or unix, got {part!r}"
            ) from None
    return tuple(proxies)


def _url(*schemes: str, example: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        try:
            parts = urlsplit(text)
            good = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            good = False
        if not good:
            raise ValueError(f"expected a {' or '.join(schemes)} URL with a host, such as {example}")
        return text.rstrip("/")

    return parse


def _origins(text: str) -> tuple[str, ...]:
    origins = _names(text)
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"https?://[^/\s?#@*]+", origin):
            raise ValueError(f"expected origins such as https://app.example.com, or * for all, got {origin!r}")
    # Browsers omit the default port in the Origin header, which these are compared with.
    shown = (one.removesuffix(":443" if one.startswith("https:") else ":80") for one in origins)
    return tuple(dict.fromkeys(shown))


def _api_url(text: str) -> str:
    url = _url("https", "http", example="https://api.example.com/v3")(text)
    if not urlsplit(url).path:
        raise ValueError("expected the base URL with the API's version, such as https://api.example.com/v3")
    return url


def _database_url(text: str) -> str:
    dialect = text.partition("://")[0].partition("+")[0]
    if "://" not in text or dialect not in ("sqlite", "postgresql"):
        raise ValueError("expected a URL such as sqlite:///cometbot.db or postgresql://user:password@host/name")
    if dialect == "postgresql":
        check_server_url(text)
    return text


def check_server_url(url: str) -> None:
    """Raise :class:`ValueError` if the password in the URL of a database server is ambiguous.

    Otherwise a part of the password would be parsed as host or database, and would be shown in errors. The text of the
    error contains no part of the URL.
    """
    rest = url.partition("://")[2]
    user = rest.partition("@")[0] if "@" in rest else ""
    if rest.count("@") > 1 or "/" in user.partition(":")[0]:
        raise ValueError("an @ or / is not escaped; write @ in the password as %40, and / as %2F")
    if re.search(r"%(?![0-9A-Fa-f]{2})", rest):
        raise ValueError("the URL has a % that is not escaped; write % in the password as %25")
    try:
        plain = unquote(rest, errors="strict")
    except UnicodeDecodeError:
        plain = "\0"
    if any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in plain):
        raise ValueError("expected text, got other bytes; write the password in UTF-8, and % in it as %25")
    port = re.fullmatch(r"(?:\[[^]]*\]|[^:]*):(.+)", re.split(r"[/?]", rest.rpartition("@")[2])[0])
    if port and not (re.fullmatch(r"\d{1,5}", port[1], re.ASCII) and 0 < int(port[1]) <= 65535):
        raise ValueError("expected a port from 1 to 65535, as in postgresql://user:password@host:5432/name")


def _bind(text: str) -> str:
    host, _, port = text.rpartition(":")
    is_port = bool(re.fullmatch(r"\d{1,5}", port, re.ASCII)) and int(port) <= 65535
    if not (text.startswith("unix:") and len(text) > len("unix:")) and not (host and is_port):
        raise ValueError(f"expected HOST:PORT, such as 0.0.0.0:8000, or unix:/a/path, got {text!r}")
    return text


def _strong_secret(text: str) -> Secret:
    if len(text) < MIN_SECRET_LENGTH:
        raise ValueError(
            f"expected at least {MIN_SECRET_LENGTH} characters, got {len(text)}; "
            "set a random text, for example what `openssl rand -hex 32` prints"
        )
    return Secret(text)


def _alphanumeric(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+", text, re.ASCII):
        raise ValueError(f"expected letters and digits, got {text!r}; copy it from CometChat's dashboard")
    return text


def _username(text: str) -> str:
    if ":" in text:
        raise ValueError("expected a username without a colon, which Basic Auth cannot carry")
    return text


def _display_name(text: str) -> str:
    if any(ord(character) < 32 for character in text) or text.startswith(("#", "@")) or "'" in text:
        raise ValueError("expected a plain name: no @ or # at its beginning, no quotes, no control characters")
    return text


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings. The attribute ``threads`` is the variable ``COMETBOT_THREADS``.

    Attributes that begin with a channel's name (``cometchat_…``, ``simplex_…``, ``chat_api_…``, ``platform_…``) are
    variables without the prefix ``COMETBOT_``. Times are in seconds.
    """

    bot: Annotated[str, str] = ""
    channels: Annotated[tuple[str, ...], _names] = ("cometchat",)
    database_url: Annotated[str, _database_url] = field(default="sqlite:///cometbot.db", repr=False)
    data: Annotated[Path, Path] = _DEFAULT_DATA_FOLDER
    storage: Annotated[int, _bytes] = 10 * 1024**3
    free_space: Annotated[int, _bytes] = 256 * 1024**2
    database_size: Annotated[int, _bytes] = 10 * 1024**3
    public_url: Annotated[str, _url("https", "http", example="https://bots.example.com")] = ""
    secret_key: Annotated[Secret, _strong_secret] = _NO_SECRET

    callback_username: Annotated[str, _username] = ""
    callback_password: Annotated[Secret, Secret] = _NO_SECRET
    allow_anonymous_callbacks: Annotated[bool, _flag] = False
    allow_private_webhooks: Annotated[bool, _flag] = False
    body_timeout: Annotated[float, _seconds] = 10.0

    bind: Annotated[str, _bind] = "0.0.0.0:8000"
    socket_group: Annotated[str, str] = ""
    processes: Annotated[int, _integer()] = 2
    threads: Annotated[int, _integer()] = 8
    streams: Annotated[int, _integer(0)] = 500
    address_streams: Annotated[int | None, _integer(0)] = None
    trusted_proxies: Annotated[tuple[TrustedProxy, ...], _proxies] = ()

    handler_threads: Annotated[int, _integer()] = 8
    max_handler_threads: Annotated[int, _integer()] = 2000
    handler_timeout: Annotated[float, _seconds] = 300.0
    stop_timeout: Annotated[float, _seconds] = 20.0
    keep_days: Annotated[int, _integer()] = 7
    mcp_token: Annotated[Secret, _strong_secret] = _NO_SECRET

    log_format: Annotated[str, _one_of("text", "json")] = "text"
    log_level: Annotated[str, _one_of("debug", "info", "warning", "error", "critical")] = "info"

    cometchat_app_id: Annotated[str, _alphanumeric] = ""
    cometchat_region: Annotated[str, _alphanumeric] = ""
    cometchat_api_key: Annotated[Secret, Secret] = _NO_SECRET
    cometchat_api_url: Annotated[str, _api_url] = ""
    cometchat_rich: Annotated[Literal["text", "interactive", "card"], _one_of("text", "interactive", "card")] = "text"
    cometchat_card_buttons: Annotated[Literal["message", "url"], _one_of("message", "url")] = "message"
    cometchat_answer_disapproved: Annotated[bool, _flag] = False
    cometchat_webhook_username: Annotated[str, _username] = ""
    cometchat_webhook_password: Annotated[Secret, Secret] = _NO_SECRET

    simplex_url: Annotated[str, _url("ws", "wss", example="wss://user:password@host/")] = field(
        default="ws://localhost:5225", repr=False
    )
    simplex_allow_unencrypted: Annotated[bool, _flag] = False
    simplex_profile: Annotated[str, str] = ""
    simplex_display_name: Annotated[str, _display_name] = ""
    simplex_address: Annotated[bool, _flag] = True
    simplex_auto_accept: Annotated[bool, _flag] = True
    simplex_business_address: Annotated[bool, _flag] = False
    simplex_welcome: Annotated[str, str] = ""
    simplex_group_messages: Annotated[Literal["addressed", "all"], _one_of("addressed", "all")] = "addressed"
    simplex_accept_files: Annotated[bool, _flag] = True
    simplex_files: Annotated[str, str] = ""
    simplex_files_here: Annotated[str, str] = ""
    simplex_file_limit: Annotated[int, _integer()] = 100_000_000

    chat_api_encryption_key: Annotated[Secret, _strong_secret] = _NO_SECRET
    chat_api_webhook_url: Annotated[str, _url("https", "http", example="https://example.com/hook")] = ""
    chat_api_webhook_secret: Annotated[Secret, Secret] = _NO_SECRET
    chat_api_origins: Annotated[tuple[str, ...], _origins] = ()
    chat_api_requests: Annotated[int, _integer(0)] = 600
    chat_api_streams: Annotated[int, _integer()] = 100
    chat_api_conversations: Annotated[int, _integer()] = 1000
    chat_api_signups: Annotated[int, _integer(0)] = 60

    platform_admin_secret_key: Annotated[Secret, _strong_secret] = _NO_SECRET
    platform_jwt_secret_key: Annotated[Secret, _strong_secret] = _NO_SECRET
    platform_config: Annotated[str, str] = ""
    platform_join_replies: Annotated[bool, _flag] = False
    platform_messages: Annotated[int, _integer(0)] = 60
    platform_requests: Annotated[int, _integer(0)] = 3000
    platform_signups: Annotated[int, _integer(0)] = 60
    platform_storage: Annotated[int, _integer()] = 268_435_456
    platform_fields: Mapping[str, str] = field(default_factory=dict)
    """Fields of the platform's config file that are set as variables, by the name of the variable."""

    chat_api_encryption_keys: Mapping[str, Secret] = field(default_factory=dict)
    """Encryption keys of single bots, by the suffix of the variable: ``{"HELPDESK": …}``."""

    bot_credentials: Mapping[str, Credentials] = field(default_factory=dict)
    """Credentials of single bots, by the suffix of the variable: ``{"HELPDESK": …}``."""

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
        fields = {name: text for name, text in given.items() if name.startswith(_PLATFORM_CONFIG_PREFIXES)}
        return cls(
            **values,
            chat_api_encryption_keys=_bot_keys(given),
            platform_fields=fields,
            bot_credentials=_bot_credentials(given),
            warnings=(
                *_unknown_setting_warnings(given),
                *_weak_password_warnings(given),
                *_untrusted_socket_warning(values),
                *_unknown_region_warning(values),
            ),
        )

    @property
    def default_bot_spec(self) -> str:
        """The bot to serve: ``bot``, or if that is not set, ``bot.py`` in the current folder, if it exists."""
        return self.bot or (DEFAULT_BOT_FILE if Path(DEFAULT_BOT_FILE).is_file() else "")

    def callback_credentials(
        self, bot_name: str, username_in_code: str = "", password_in_code: str | Secret = ""
    ) -> Credentials | None:
        """Return the credentials that CometChat must send to call ``bot_name``, or None if none are set.

        The bot's own variables take precedence over those in its code, and these over the variables for all bots.
        Raises :class:`ConfigurationError` if the code sets only one of username and password.
        """
        if own := self.bot_credentials.get(variable_suffix(bot_name)):
            return own
        password = password_in_code if isinstance(password_in_code, Secret) else Secret(password_in_code)
        if bool(username_in_code) != bool(password):
            raise ConfigurationError(
                f"the bot {bot_name!r} has only one of callback_username and callback_password; give it both or neither"
            )
        if username_in_code:
            return Credentials(
                _parse(f"callback_username of the bot {bot_name!r}", username_in_code, _username), password
            )
        if self.callback_username and self.callback_password:
            return Credentials(self.callback_username, self.callback_password)
        return None

    def weak_password_warning(self, bot_name: str, password_in_code: str | Secret = "") -> str:
        """Return a warning if the callback password in a bot's code is used and weak, else an empty text."""
        is_used = variable_suffix(bot_name) not in self.bot_credentials
        return (
            f"callback_password of the bot {bot_name!r} {WEAK_SECRET_TEXT}"
            if is_used and is_weak(password_in_code)
            else ""
        )

    def check_bots(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return warnings about credentials that belong to none of the bots ``names``.

        Raises :class:`ConfigurationError` for two bots whose variables would have the same name.
        """
        known: dict[str, str] = {}
        for name in names:
            other = known.setdefault(variable_suffix(name), name)
            if other != name:
                raise ConfigurationError(
                    f"the bots {other!r} and {name!r} would share the variable "
                    f"COMETBOT_CALLBACK_USERNAME__{variable_suffix(name)}; rename one of them"
                )
        unknown = [suffix for suffix in self.bot_credentials if suffix not in known]
        return tuple(
            f"COMETBOT_CALLBACK_USERNAME__{suffix} belongs to no bot that is served here{_suggest(suffix, known)}"
            for suffix in unknown
        )

    @property
    def max_open_streams(self) -> int:
        """The event streams that a process may keep open; 0 if no channel has any."""
        return self.streams if self.has_chat_channel else 0

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
            missing = "COMETCHAT_REGION" if self.cometchat_app_id else "COMETCHAT_APP_ID"
            raise ConfigurationError(
                f"{missing} is not set; copy the app id, the region and a REST API key from CometChat's dashboard into "
                "COMETCHAT_APP_ID, COMETCHAT_REGION and COMETCHAT_API_KEY"
            )
        return f"https://{self.cometchat_app_id}.api-{self.cometchat_region}.cometchat.io/v3"


@functools.cache
def _parsers() -> dict[str, Callable[[str], Any]]:
    hints = get_type_hints(Settings, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}


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
        username = _parse(f"{name}__{suffix}", usernames[suffix], _username)
        found[suffix] = Credentials(username, Secret(passwords[suffix].strip()))
    return found


def _bot_keys(given: Mapping[str, str]) -> dict[str, Secret]:
    name = "CHAT_API_ENCRYPTION_KEY"
    keys = _by_bot(given, name)
    return {suffix: _parse(f"{name}__{suffix}", text, _strong_secret) for suffix, text in keys.items()}


def _weak_password_warnings(given: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each password that is short enough to be guessed."""
    pattern = re.compile(
        r"COMETBOT_CALLBACK_PASSWORD(?:__[A-Z0-9_]+)?|COMETCHAT_WEBHOOK_PASSWORD|CHAT_API_WEBHOOK_SECRET"
    )
    for name in sorted(given):
        if pattern.fullmatch(name) and is_weak(given[name].strip()):
            yield f"{name} {WEAK_SECRET_TEXT}"


def _unknown_setting_warnings(given: Mapping[str, str]) -> Iterator[str]:
    known = [variable_name(setting) for setting in _parsers()]
    of_one_bot = re.compile(r"(?:COMETBOT_CALLBACK_(?:USERNAME|PASSWORD)|CHAT_API_ENCRYPTION_KEY)__[A-Z0-9_]+")
    checked_elsewhere = (_TEST_PREFIX, *_PLATFORM_CONFIG_PREFIXES)
    for name in sorted(given):
        if name in known or name.startswith(checked_elsewhere) or of_one_bot.fullmatch(name):
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


def _unknown_region_warning(values: Mapping[str, Any]) -> Iterator[str]:
    region = values.get("cometchat_region", "")
    if region and region not in _KNOWN_REGIONS and not values.get("cometchat_api_url"):
        yield (
            f"COMETCHAT_REGION: expected {', '.join(_KNOWN_REGIONS)}, got {region!r}"
            f"{_suggest(region, _KNOWN_REGIONS) or '.'} "
            "With a wrong region CometChat cannot be reached, and replies wait."
        )


def _suggest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""
