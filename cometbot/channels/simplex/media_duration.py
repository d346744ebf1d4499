"""Durations of sounds and videos, which SimpleX needs when they are sent."""

from __future__ import annotations

import logging
from pathlib import Path

try:
    from tinytag import TinyTag
except ImportError as error:
    raise ImportError("the SimpleX channel needs the library tinytag: pip install 'cometbot[simplex]'") from error

_log = logging.getLogger(__name__)


def get_duration_seconds(path: Path) -> int:
    """Return the duration of a recording in whole seconds, at least 1; 0 if the file does not contain it."""
    try:
        duration = TinyTag.get(path, tags=False).duration
    except Exception as error:  # what the library raises for a broken file depends on how it is broken
        _log.debug("how long a recording is cannot be read: %s", type(error).__name__)
        return 0
    return max(1, round(duration)) if duration and 0 < duration < 10**6 else 0
