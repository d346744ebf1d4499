"""How long recordings are."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import pytest

from cometbot.channels.simplex.media_duration import get_duration_seconds
from cometbot.testing.simplex.web import make_file


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", "a.mp4"])
def test_duration_of_recording(tmp_path: Path, name: str) -> None:
    (tmp_path / "loading").write_bytes(make_file(name))

    assert get_duration_seconds(tmp_path / "loading") == 2


@pytest.mark.parametrize(("frames", "seconds"), [(100, 1), (8000 * 7 + 4100, 8)])
def test_seconds_are_whole_and_one_at_least(tmp_path: Path, frames: int, seconds: int) -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(bytes(frames))
    (tmp_path / "a.wav").write_bytes(buffer.getvalue())

    assert get_duration_seconds(tmp_path / "a.wav") == seconds


@pytest.mark.parametrize("content", [b"", b"text", b"\0\0\0\x08ftyp", b"OggS" + bytes(50)])
def test_of_what_is_none_nothing_is_known(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp3").write_bytes(content)

    assert get_duration_seconds(tmp_path / "a.mp3") == 0
    assert get_duration_seconds(tmp_path / "nowhere.mp3") == 0
