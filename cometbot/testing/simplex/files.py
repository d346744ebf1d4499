"""Files of the stand-in: really written to disk, where the CLI would write them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from cometbot import private_files
from cometbot.testing.simplex import objects
from cometbot.testing.simplex.grammar import Request
from cometbot.testing.simplex.objects import Obj
from cometbot.testing.simplex.profiles import Part, unreadable
from cometbot.testing.simplex.state import State, chat_refused, store_refused

MOST_KEPT = 4 * 1024 * 1024
"""Bytes of what was uploaded that are kept for whoever asks what the bot has sent."""

_DONE = ("rcvComplete", "rcvCancelled", "sndComplete", "sndCancelled", "rcvError")


def offered_file(folder: str, source: Any, limit: int) -> Obj:
    """The file of a message that is to be sent; refused where it is not there, or too large."""
    if not isinstance(source, dict) or not isinstance(source.get("filePath"), str) or not source["filePath"]:
        raise unreadable()
    path = Path(folder, source["filePath"])
    if not path.is_file():
        raise chat_refused("fileNotFound", message=source["filePath"])
    if path.stat().st_size > limit:
        raise chat_refused("fileSize", filePath=source["filePath"])
    return {
        "fileId": 0,
        "fileName": path.name,
        "fileSize": path.stat().st_size,
        "fileSource": {"filePath": source["filePath"]},
        "fileStatus": {"type": "sndStored"},
        "fileProtocol": "XFTP",
    }


def end_upload(state: State, folder: str, ref: str, item: Obj) -> None:
    """A file of the bot's is read and uploaded; it fails if it is not there any more."""
    file = item["file"]
    try:
        with Path(folder, file["fileSource"]["filePath"]).open("rb") as opened:
            content = opened.read(MOST_KEPT)
    except OSError:
        file["fileStatus"] = {"type": "sndError", "sndFileError": {"type": "other", "fileError": "no such file"}}
        told = {"chatItem_": state.whole(ref, item), "fileTransferMeta": objects.snd_transfer(file)}
        state.tell("sndFileError", **told, errorMessage="no such file")
        return
    state.tree.setdefault("uploads", {})[str(file["fileId"])] = base64.b64encode(content).decode()
    file["fileStatus"] = {"type": "sndComplete"}
    transfer = objects.snd_transfer(file)
    state.tell("sndFileCompleteXFTP", chatItem=state.whole(ref, item), fileTransferMeta=transfer)


def unique_path(folder: Path, name: str) -> Path:
    """A path in ``folder`` that nothing is at: ``photo.jpg``, ``photo_1.jpg`` …"""
    plain = Path(name.replace("\\", "/")).name or "file"
    stem, suffix = Path(plain).stem, Path(plain).suffix
    candidates = (plain, *(f"{stem}_{number}{suffix}" for number in range(1, 10_000)))
    return next(path for path in (folder / candidate for candidate in candidates) if not path.exists())


class FileAnswers(Part):
    """The commands about files. Where ``holds_files`` is true, downloads wait for :meth:`finish_file`."""

    files_folder: str = ""
    holds_files: bool = False

    def do_receive_file(self, request: Request) -> Obj:
        """The file is fetched: the answer says that it was accepted, events say the rest."""
        file_id = request.number("id")
        kept = self.state.tree["files"].get(str(file_id))
        if kept is None:
            raise store_refused("rcvFileNotFound", fileId=file_id)
        ref, item = self.state.place_of_file(file_id)
        file = item["file"]
        if file["fileStatus"]["type"] == "rcvCancelled":
            transfer = objects.rcv_transfer(file, kept["sender"])
            return self.reply("rcvFileAcceptedSndCancelled", rcvFileTransfer=transfer)
        if file["fileStatus"]["type"] != "rcvInvitation":
            raise chat_refused("fileAlreadyReceiving", message=file["fileName"])
        if kept["foreign"] and not request.is_on("approved"):
            raise chat_refused("fileNotApproved", fileId=file_id, unknownServers=["xftp://key@xftp7.example.net"])
        path, shown = self._place(request.text("rest"), file["fileName"])
        private_files.write_bytes(path, b"")
        kept.update(path=str(path), shown=shown, encrypted=request.text("encrypt") == "on")
        file["fileStatus"] = {"type": "rcvAccepted"}
        answer = self.reply("rcvFileAccepted", chatItem=self.state.whole(ref, item))
        if not self.holds_files:
            self.finish_file(file_id)
        return answer

    def _place(self, wanted: str, name: str) -> tuple[Path, str]:
        """Where the file will lie, and how the CLI will name that place."""
        if not wanted:
            folder = Path(self.files_folder) if self.files_folder else Path.home() / "Downloads"
            if not folder.is_dir():
                raise chat_refused("fileWrite", filePath=str(folder), message="no such folder")
            path = unique_path(folder, name)
            return path, path.name if self.files_folder else str(path)
        path = Path(wanted)
        if path.is_dir():
            path = unique_path(path, name)
        if path.exists():
            raise chat_refused("fileAlreadyExists", filePath=wanted)
        if not path.parent.is_dir():
            raise chat_refused("fileWrite", filePath=wanted, message="no such folder")
        return path, str(path)

    def finish_file(self, file_id: int) -> None:
        """Let an accepted download come to its end."""
        with self.state.lock:
            kept = self.state.tree["files"][str(file_id)]
            ref, item = self.state.place_of_file(file_id)
            item["file"]["fileStatus"] = {"type": "rcvTransfer", "rcvProgress": 0, "rcvTotal": 1}
            self.state.tell("rcvFileStart", chatItem=self.state.whole(ref, item))
            content = base64.b64decode(kept["content"])
            source: Obj = {"filePath": kept["shown"]}
            if kept["encrypted"]:
                content = bytes(byte ^ 0x5A for byte in content)
                source["cryptoArgs"] = {"fileKey": objects.encoded("key"), "fileNonce": objects.encoded("nonce")}
            private_files.write_bytes(Path(kept["path"]), content)
            item["file"].update(fileStatus={"type": "rcvComplete"}, fileSource=source)
            self.state.tell("rcvFileComplete", chatItem=self.state.whole(ref, item))

    def fail_file(self, file_id: int, *, names_item: bool = True) -> None:
        """Let an accepted download fail for good."""
        with self.state.lock:
            kept = self.state.tree["files"][str(file_id)]
            ref, item = self.state.place_of_file(file_id)
            item["file"]["fileStatus"] = {"type": "rcvError", "rcvFileError": {"type": "auth"}}
            Path(kept["path"]).unlink(missing_ok=True)
            self.state.tell(
                "rcvFileError",
                chatItem_=self.state.whole(ref, item) if names_item else None,
                agentError={
                    "type": "XFTP",
                    "serverAddress": "xftp://key@xftp9.example.org",
                    "xftpErr": {"type": "AUTH"},
                },
                rcvFileTransfer=objects.rcv_transfer(item["file"], kept["sender"]),
            )

    def do_cancel_file(self, request: Request) -> Obj:
        """A transfer that is not over is stopped."""
        file_id = request.number("id")
        ref, item = self.state.place_of_file(file_id)
        file = item["file"]
        if file["fileStatus"]["type"] in _DONE:
            raise chat_refused("fileCancel", fileId=file_id, message="the transfer is over")
        kept = self.state.tree["files"].get(str(file_id))
        file["fileStatus"] = {"type": "rcvCancelled" if kept else "sndCancelled"}
        whole = self.state.whole(ref, item)
        if kept:
            if "path" in kept:
                Path(kept["path"]).unlink(missing_ok=True)
            transfer = {**objects.rcv_transfer(file, kept["sender"]), "cancelled": True}
            return self.reply("rcvFileCancelled", chatItem_=whole, rcvFileTransfer=transfer)
        meta = objects.snd_transfer(file, is_cancelled=True)
        return self.reply("sndFileCancelled", chatItem_=whole, fileTransferMeta=meta, sndFileTransfers=[])
