"""Packs the installed cometbot into a wheel, for a project that is installed where no index has it."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import cometbot

_WHEEL_METADATA = "Wheel-Version: 1.0\nGenerator: cometbot init\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_FIXED_TIMESTAMP = (2020, 1, 1, 0, 0, 0)


def wheel_name() -> str:
    """Return the file name of the installed cometbot's wheel."""
    return f"cometbot-{metadata.version('cometbot')}-py3-none-any.whl"


def write_wheel(folder: Path) -> Path:
    """Write the installed cometbot into ``folder`` as a wheel, replacing an existing one, and return its path.

    The format is packaging.python.org, "Binary distribution format".
    """
    distribution = metadata.distribution("cometbot")
    info = f"cometbot-{distribution.version}.dist-info"
    wheel = folder / wheel_name()
    folder.mkdir(parents=True, exist_ok=True)
    record: list[str] = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [*_package_files(), *_info_files(distribution, info)]:
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}")
            archive.writestr(_zip_entry(name), content)
        lines = [*record, f"{info}/RECORD,,"]
        archive.writestr(_zip_entry(f"{info}/RECORD"), "\n".join(lines) + "\n")
    return wheel


def _package_files() -> Iterator[tuple[str, bytes]]:
    root = Path(cometbot.__file__).parent
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"cometbot/{path.relative_to(root).as_posix()}", path.read_bytes()


def _info_files(distribution: metadata.Distribution, info: str) -> Iterator[tuple[str, bytes]]:
    # An editable installation has its metadata in an egg-info folder, under another name.
    package_metadata = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    yield f"{info}/METADATA", package_metadata.encode()
    yield f"{info}/entry_points.txt", (distribution.read_text("entry_points.txt") or "").encode()
    yield f"{info}/WHEEL", _WHEEL_METADATA.encode()


def _zip_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _FIXED_TIMESTAMP)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry
