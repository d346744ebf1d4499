"""Sounds and films that browsers play."""

from __future__ import annotations

import struct

RECORD_FILM = """async () => {
    const canvas = document.createElement("canvas");
    const paint = setInterval(() => canvas.getContext("2d").fillRect(Math.random() * 99, 0, 9, 9), 20);
    const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: "video/webm" });
    const pieces = [];
    recorder.ondataavailable = (event) => pieces.push(event.data);
    const ended = new Promise((resolve) => recorder.onstop = resolve);
    recorder.start();
    setTimeout(() => recorder.stop(), 500);
    await ended;
    clearInterval(paint);
    return [...new Uint8Array(await new Blob(pieces).arrayBuffer())];
}"""
"""A script that returns the bytes of a WebM film of some frames."""

WAV = b"RIFF" + struct.pack("<I", 36 + 800) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
WAV += b"data" + struct.pack("<I", 800) + b"\x80" * 800
"""A tenth of a second of silence."""
