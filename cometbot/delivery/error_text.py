"""Why something failed, in words that can be kept, whoever chose them."""

from __future__ import annotations

MAX_TEXT_LENGTH = 4000
"""Characters of a cause that are kept."""

_REPLACEMENT_CHARACTER = "\ufffd"


def storable_text(text: str) -> str:
    """``text`` as every database takes it: the first :data:`MAX_TEXT_LENGTH` characters, without NUL and halves of
    characters."""
    truncated = (
        text
        if len(text) <= MAX_TEXT_LENGTH
        else f"{text[:MAX_TEXT_LENGTH]}… ({len(text) - MAX_TEXT_LENGTH} more characters)"
    )
    return (
        truncated.replace("\0", _REPLACEMENT_CHARACTER)
        .encode("utf-16-le", "surrogatepass")
        .decode("utf-16-le", "replace")
    )


def describe_error(error: BaseException, name: str = "") -> str:
    """What was raised, as it is told and kept: ``name`` (the class, if empty) and the error's own text, storable."""
    try:
        error_text = str(error)
    except BaseException:  # its author's code, which may fail like any other
        error_text = "(its text cannot be read)"
    return storable_text(f"{name or type(error).__name__}: {error_text}")
