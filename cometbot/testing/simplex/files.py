"""Files of the fake CLI, which are written to disk at the same paths as by a real CLI."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from cometbot import private_files
from cometbot.testing.simplex import api_objects
from cometbot.testing.simplex.api_objects import JsonObject
from cometbot.testing.simplex.command_grammar import Request
from cometbot.testing.simplex.profiles import CommandHandlerBase, unparsable_command
from cometbot.testing.simplex.state import FakeState, chat_refusal, find_row, store_refusal

MAX_UPLOAD_BYTES_KEPT = 4 * 1024 * 1024
"""Maximum bytes of an uploaded file that are kept for tests."""

_FINISHED_STATUSES = ("rcvComplete", "rcvCancelled", "sndComplete", "sndCancelled", "rcvError")


def outgoing_file(folder: str, source: Any, limit: int) -> JsonObject:
    """Return the file of an outgoing message. Raises :class:`CommandRefused` if it is missing or too large."""
    if not isinstance(source, dict) or not isinstance(source.get("filePath"), str) or not source["filePath"]:
        raise unparsable_command()
    path = Path(folder, source["filePath"])
    if not path.is_file():
        raise chat_refusal("fileNotFound", message=source["filePath"])
    if path.stat().st_size > limit:
        raise chat_refusal("fileSize", filePath=source["filePath"])
    return {
        "fileId": 0,
        "fileName": path.name,
        "fileSize": path.stat().st_size,
        "fileSource": {"filePath": source["filePath"]},
        "fileStatus": {"type": "sndStored"},
        "fileProtocol": "XFTP",
    }


def complete_upload(state: FakeState, folder: str, ref: str, item: JsonObject) -> None:
    """Read and upload a file of the bot. The upload fails if the file no longer exists."""
    file = item["file"]
    try:
        with Path(folder, file["fileSource"]["filePath"]).open("rb") as opened:
            content = opened.read(MAX_UPLOAD_BYTES_KEPT)
    except OSError:
        file["fileStatus"] = {"type": "sndError", "sndFileError": {"type": "other", "fileError": "no such file"}}
        fields = {"chatItem_": state.full_item(ref, item), "fileTransferMeta": api_objects.snd_transfer(file)}
        state.emit_event("sndFileError", **fields, errorMessage="no such file")
        return
    state.uploads[str(file["fileId"])] = base64.b64encode(content).decode()
    file["fileStatus"] = {"type": "sndComplete"}
    transfer = api_objects.snd_transfer(file)
    state.emit_event("sndFileCompleteXFTP", chatItem=state.full_item(ref, item), fileTransferMeta=transfer)


def unique_path(folder: Path, name: str) -> Path:
    """Return an unused path in ``folder``: ``photo.jpg``, else ``photo_1.jpg`` and so on."""
    plain = Path(name.replace("\\", "/")).name or "file"
    stem, suffix = Path(plain).stem, Path(plain).suffix
    candidates = (plain, *(f"{stem}_{number}{suffix}" for number in range(1, 10_000)))
    return next(path for path in (folder / candidate for candidate in candidates) if not path.exists())


class FileCommands(CommandHandlerBase):
    """The commands for files. With ``holds_files``, downloads wait for :meth:`finish_file`."""

    files_folder: str = ""
    holds_files: bool = False

    def do_receive_file(self, request: Request) -> JsonObject:
        """Download a file. The answer confirms the request; events report the progress."""
        file_id = request.number("id")
        kept = find_row(self.state.files, file_id, store_refusal("rcvFileNotFound", fileId=file_id))
        ref, item = self.state.find_file_item(file_id)
        file = item["file"]
        if file["fileStatus"]["type"] == "rcvCancelled":
            transfer = api_objects.rcv_transfer(file, kept["sender"])
            return self.reply("rcvFileAcceptedSndCancelled", rcvFileTransfer=transfer)
        if file["fileStatus"]["type"] != "rcvInvitation":
            raise chat_refusal("fileAlreadyReceiving", message=file["fileName"])
        if kept["foreign"] and not request.is_on("approved"):
            raise chat_refusal("fileNotApproved", fileId=file_id, unknownServers=["xftp://key@xftp7.example.net"])
        path, shown = self._target_path(request.text("rest"), file["fileName"])
        private_files.write_bytes(path, b"")
        kept.update(path=str(path), shown=shown, encrypted=request.text("encrypt") == "on")
        file["fileStatus"] = {"type": "rcvAccepted"}
        answer = self.reply("rcvFileAccepted", chatItem=self.state.full_item(ref, item))
        if not self.holds_files:
            self.finish_file(file_id)
        return answer

    def _target_path(self, wanted: str, name: str) -> tuple[Path, str]:
        """Return the target path of a file, and the CLI's name for it."""
        if not wanted:
            folder = Path(self.files_folder) if self.files_folder else Path.home() / "Downloads"
            if not folder.is_dir():
                raise chat_refusal("fileWrite", filePath=str(folder), message="no such folder")
            path = unique_path(folder, name)
            return path, path.name if self.files_folder else str(path)
        path = Path(wanted)
        if path.is_dir():
            path = unique_path(path, name)
        if path.exists():
            raise chat_refusal("fileAlreadyExists", filePath=wanted)
        if not path.parent.is_dir():
            raise chat_refusal("fileWrite", filePath=wanted, message="no such folder")
        return path, str(path)

    def finish_file(self, file_id: int) -> None:
        """Complete an accepted download."""
        with self.state.lock:
            kept = self.state.files[str(file_id)]
            ref, item = self.state.find_file_item(file_id)
            item["file"]["fileStatus"] = {"type": "rcvTransfer", "rcvProgress": 0, "rcvTotal": 1}
            self.state.emit_event("rcvFileStart", chatItem=self.state.full_item(ref, item))
            content = base64.b64decode(kept["content"])
            source: JsonObject = {"filePath": kept["shown"]}
            if kept["encrypted"]:
                content = bytes(byte ^ 0x5A for byte in content)
                source["cryptoArgs"] = {
                    "fileKey": api_objects.encode_base64("key"),
                    "fileNonce": api_objects.encode_base64("nonce"),
                }
            private_files.write_bytes(Path(kept["path"]), content)
            item["file"].update(fileStatus={"type": "rcvComplete"}, fileSource=source)
            self.state.emit_event("rcvFileComplete", chatItem=self.state.full_item(ref, item))

    def fail_file(self, file_id: int, *, names_item: bool = True) -> None:
        """Fail an accepted download permanently."""
        with self.state.lock:
            kept = self.state.files[str(file_id)]
            ref, item = self.state.find_file_item(file_id)
            item["file"]["fileStatus"] = {"type": "rcvError", "rcvFileError": {"type": "auth"}}
            Path(kept["path"]).unlink(missing_ok=True)
            self.state.emit_event(
                "rcvFileError",
                chatItem_=self.state.full_item(ref, item) if names_item else None,
                agentError={
                    "type": "XFTP",
                    "serverAddress": "xftp://key@xftp9.example.org",
                    "xftpErr": {"type": "AUTH"},
                },
                rcvFileTransfer=api_objects.rcv_transfer(item["file"], kept["sender"]),
            )

    def do_cancel_file(self, request: Request) -> JsonObject:
        """Cancel a transfer that has not ended."""
        file_id = request.number("id")
        ref, item = self.state.find_file_item(file_id)
        file = item["file"]
        if file["fileStatus"]["type"] in _FINISHED_STATUSES:
            raise chat_refusal("fileCancel", fileId=file_id, message="the transfer is over")
        kept = self.state.files.get(str(file_id))
        file["fileStatus"] = {"type": "rcvCancelled" if kept else "sndCancelled"}
        whole = self.state.full_item(ref, item)
        if kept:
            if "path" in kept:
                Path(kept["path"]).unlink(missing_ok=True)
            transfer = {**api_objects.rcv_transfer(file, kept["sender"]), "cancelled": True}
            return self.reply("rcvFileCancelled", chatItem_=whole, rcvFileTransfer=transfer)
        meta = api_objects.snd_transfer(file, is_cancelled=True)
        return self.reply("sndFileCancelled", chatItem_=whole, fileTransferMeta=meta, sndFileTransfers=[])
