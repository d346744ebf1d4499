"""The table of channels' capabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cometbot.channels.base import Channel
from cometbot.messages import Capabilities, Card, Carousel, Choices, Custom, Form, Location, Media, Text

MESSAGE_TYPES = (Text, Media, Card, Carousel, Choices, Location, Form, Custom)

Rows = Mapping[str, str]


def capability_rows(capabilities: Capabilities) -> dict[str, str]:
    """Return one channel's column: how it shows each type of message, and its other capabilities."""
    rows = {kind.__name__: "shown" if kind in capabilities.native else "as text" for kind in MESSAGE_TYPES}
    rows["text in one message"] = f"{capabilities.text_limit} bytes"
    rows["edit"] = "yes" if capabilities.edit else "says it anew"
    for name in ("delete", "react", "threads", "history", "groups"):
        rows[name] = "yes" if getattr(capabilities, name) else "no"
    rows["finds what it sent"] = "yes" if capabilities.look_up else "no"
    is_live = (capabilities.edit or capabilities.deltas) and capabilities.stream_interval is not None
    rows["stream"] = f"live, every {capabilities.stream_interval:g} s" if is_live else "when whole"
    return rows


def capability_table(channels: Iterable[Channel]) -> str:
    """Return the capabilities of ``channels`` as a Markdown table with one column for each channel."""
    return format_table({channel.name: capability_rows(channel.capabilities) for channel in channels})


def format_table(columns: Mapping[str, Rows]) -> str:
    """Return columns with the same rows as a Markdown table, padded so that the source is readable."""
    names = next(iter(columns.values()), {})
    lines = [["", *columns], *([name, *(rows.get(name, "") for rows in columns.values())] for name in names)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    cells = (" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(f"| {line} |" for line in cells)
