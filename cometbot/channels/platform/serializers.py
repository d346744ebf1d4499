"""Serializes the platform's objects to JSON, as docs/protocols/platform.md defines under "Objects".

The protocol names the fields that are left out if they are empty.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cometbot.channels.platform import rich_content
from cometbot.channels.platform.config import Limits, Service
from cometbot.channels.platform.display_names import display_name
from cometbot.channels.platform.schemas import camel_case
from cometbot.chat import ChatConversation, ChatFile, ChatMessage, ChatUser, ListedBot, ListedCommand
from cometbot.content_types import RAW_TYPES_BY_EXTENSION
from cometbot.http.page.markdown import to_html

JsonObject = dict[str, Any]

_MAX_NAMED_BOTS = 3

KIND_FOLDERS = {"image": "images", "audio": "audios", "video": "videos", "file": "files"}
"""The folder in a file's path, by the file's kind."""

_EXTENSIONS = {
    **{mime_type: (extension,) for extension, mime_type in RAW_TYPES_BY_EXTENSION.items()},
    "application/gzip": (".gz", ".tgz"),
    "application/pdf": (".pdf",),
    "application/x-7z-compressed": (".7z",),
    "application/zip": (".zip",),
    "audio/3gpp": (".3ga", ".3gp", ".3gpp"),
    "audio/3gpp2": (".3g2",),
    "audio/aac": (".aac",),
    "audio/aiff": (".aiff", ".aif", ".aifc"),
    "audio/amr": (".amr",),
    "audio/amr-wb": (".awb", ".amr"),
    "audio/flac": (".flac",),
    "audio/midi": (".mid", ".midi", ".kar", ".rmi"),
    "audio/mp4": (".m4a", ".m4b", ".m4r", ".mp4"),
    "audio/mpeg": (".mp3", ".mp2"),
    "audio/ogg": (".ogg", ".oga", ".opus"),
    "audio/wav": (".wav",),
    "audio/webm": (".weba", ".webm"),
    "audio/x-caf": (".caf",),
    "audio/x-matroska": (".mka", ".mkv"),
    "audio/x-ms-wma": (".wma", ".asf"),
    "audio/x-wavpack": (".wv",),
    "image/avif": (".avif", ".avifs"),
    "image/bmp": (".bmp", ".dib"),
    "image/gif": (".gif",),
    "image/heic": (".heic", ".heif", ".hif"),
    "image/heic-sequence": (".heics", ".heic", ".heifs"),
    "image/heif": (".heif", ".heic", ".hif"),
    "image/heif-sequence": (".heifs", ".heif"),
    "image/jp2": (".jp2",),
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/jxl": (".jxl",),
    "image/png": (".png",),
    "image/svg+xml": (".svg",),
    "image/tiff": (".tif", ".tiff"),
    "image/vnd.adobe.photoshop": (".psd",),
    "image/vnd.microsoft.icon": (".ico",),
    "image/webp": (".webp",),
    "image/x-canon-cr2": (".cr2",),
    "image/x-canon-cr3": (".cr3",),
    "image/x-canon-crw": (".crw",),
    "image/x-fuji-raf": (".raf",),
    "image/x-minolta-mrw": (".mrw",),
    "image/x-olympus-orf": (".orf",),
    "image/x-panasonic-rw2": (".rw2", ".rwl", ".raw"),
    "image/x-sigma-x3f": (".x3f",),
    "text/html": (".html", ".htm", ".shtml", ".xhtml"),
    "video/3gpp": (".3gp", ".3gpp"),
    "video/3gpp2": (".3g2",),
    "video/mp2t": (".m2ts", ".mts", ".ts"),
    "video/mp4": (".mp4", ".m4v"),
    "video/mpeg": (".mpg", ".mpeg", ".vob"),
    "video/ogg": (".ogv", ".ogg"),
    "video/quicktime": (".mov", ".qt"),
    "video/webm": (".webm",),
    "video/x-flv": (".flv",),
    "video/x-matroska": (".mkv",),
    "video/x-ms-wmv": (".wmv", ".asf"),
    "video/x-msvideo": (".avi",),
}
"""The MIME types that are detected from a file's bytes, with the extensions that fit them, the usual one first.

All machines must derive the same path for a file, so the machine's own MIME table is not used.
"""

_SNIFFED_EXTENSIONS = frozenset(ending for endings in _EXTENSIONS.values() for ending in endings) - {".ts", ".raw"}
"""Extensions that promise certain bytes. The two exceptions also stand for TypeScript and for any raw data."""
_EXTENSION_REGEX = re.compile(r"\.[a-z0-9_-]{1,16}")


def service_json(service: Service) -> JsonObject:
    """Return a ServiceInfo."""
    return _drop_empty(asdict(service), "avatar")


def page_service_json(given: Service, bots: Sequence[ListedBot]) -> JsonObject:
    """Return the service as the web chat shows it. Where the operator has set no value, the bots' values are used."""
    default = Service()
    only = bots[0] if len(bots) == 1 else None
    found = service_json(given)
    if given.name in ("", default.name):
        names = ", ".join(bot.name for bot in bots[:_MAX_NAMED_BOTS])
        found["name"] = names + ("…" if len(bots) > _MAX_NAMED_BOTS else "") or "Chat"
    if given.description in ("", default.description):
        found["description"] = only.description if only else ""
    return found if given.avatar or only is None or not only.avatar else {**found, "avatar": only.avatar}


def bot_json(bot: ListedBot) -> JsonObject:
    """Return a Bot."""
    found = {"id": bot.id, "name": bot.name, "description": bot.description, "avatar": bot.avatar}
    return _drop_empty(found, "description", "avatar")


def user_json(user: ChatUser) -> JsonObject:
    """Return a User."""
    return {"id": user.id, "nickname": user.data.get("nickname", "")}


def page_user_json(user: ChatUser) -> JsonObject:
    """Return a User with the name that the web chat shows and bots receive."""
    return {**user_json(user), "name": display_name(user)}


def chat_json(chat: ChatConversation) -> JsonObject:
    """Return a Chat."""
    return {"id": chat.id, "userId": chat.owner, "botId": chat.scope.bot}


def command_json(command: ListedCommand) -> JsonObject:
    """Return a Command. ``usage`` is cometbot's addition, and left out if the bot does not declare it."""
    found = {"id": command.id, "alias": command.alias, "description": command.description, "usage": command.usage}
    return _drop_empty(found, "description", "usage")


def webhook_json(bot_id: str, url: str, secret: str) -> JsonObject:
    """Return a Webhook."""
    return _drop_empty({"botId": bot_id, "url": url, "secret": secret}, "secret")


def file_json(file: ChatFile) -> JsonObject:
    """Return a File. Its path consists of its kind, its id, and the extension of its name or type."""
    path = f"static/{KIND_FOLDERS[file.kind]}/{file.id}{_extension(file)}"
    return {"id": file.id, "path": path, "name": file.name, "size": file.size, "mimeType": file.mime_type}


def message_json(message: ChatMessage, *, with_ids: bool = False) -> JsonObject:
    """Return a Message with its chat id and whole files. ``with_ids`` adds ``attachmentIds`` if it has files."""
    attachments = list(message.payload.get("attachments", ()))
    found: JsonObject = {
        "id": message.id,
        "chatId": message.conversation,
        "senderId": message.sender,
        "body": message.payload.get("body", ""),
        "attachments": attachments,
        "timestamp": message.at,
    }
    if with_ids and attachments:
        found["attachmentIds"] = [item["id"] for item in attachments]
    return _drop_empty(found, "attachments")


def page_message_json(message: ChatMessage) -> JsonObject:
    """Return a message as the web chat shows it: with its text as safe HTML, and its rich content."""
    found = {"attachments": [], **message_json(message)}
    content = message.payload.get("content")
    found["html"] = to_html(found["body"]) if found["body"] else ""
    found["content"] = None if content is None else rich_content.with_html(content)
    found["clientId"] = "" if message.is_bot else message.client_id.removeprefix(f"{message.sender}:")
    if stream := message.payload.get("streamId"):
        found["streamId"] = stream
    return found


def page_chat_json(chat: ChatConversation, last: ChatMessage | None) -> JsonObject:
    """Return a chat as the web chat lists it."""
    return {
        **chat_json(chat),
        "title": chat.data.get("title", ""),
        "createdAt": chat.created_at,
        "last": None if last is None else page_message_json(last),
    }


def page_bot_json(bot: ListedBot) -> JsonObject:
    """Return a bot as the web chat lists it.

    ``external`` marks an external bot, ``greets`` one that says something before the user writes.
    """
    marks = {"external": not bot.is_local, "greets": bot.greets}
    return {**bot_json(bot), **{name: True for name, is_set in marks.items() if is_set}}


def limits_json(limits: Limits, max_chats: int) -> dict[str, int]:
    """Return the limits that the web chat checks before it sends a request."""
    values = asdict(limits.message) | asdict(limits.user) | asdict(limits.file)
    del values["auth_token_lifetime"]
    return {**{camel_case(name): value for name, value in values.items()}, "maxChats": max_chats}


def message_payload(
    body: str,
    files: Sequence[ChatFile] = (),
    content: Mapping[str, Any] | None = None,
    stream: str = "",
    *,
    stored: Sequence[JsonObject] = (),
) -> JsonObject:
    """Return the stored payload of a message. It contains the files' JSON, since files never change.

    ``stored`` are the File objects of files that the bot has sent from its own.
    """
    attachments = sorted([*map(file_json, files), *stored], key=lambda item: str(item["id"]))
    found = {"body": body, "attachments": attachments, "content": content, "streamId": stream}
    return {name: value for name, value in found.items() if value or name == "body"}


def _extension(file: ChatFile) -> str:
    """Return the extension of the uploaded name if it fits the type, else the usual one of the type.

    If the type was not detected from the bytes, it comes from the name. Then every extension fits, except those that
    promise certain bytes.
    """
    given = os.path.splitext(file.name)[1].lower()
    if fitting := _EXTENSIONS.get(file.mime_type):
        return given if given in fitting else fitting[0]
    if given not in _SNIFFED_EXTENSIONS and _EXTENSION_REGEX.fullmatch(given):
        return given
    return ".txt" if file.mime_type == "text/plain" else ""


def _drop_empty(found: JsonObject, *names: str) -> JsonObject:
    return {name: value for name, value in found.items() if value or name not in names}
