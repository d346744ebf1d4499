"""Texts of errors that can be stored, whatever code raised them."""

from __future__ import annotations

MAX_TEXT_LENGTH = 4000
"""Characters of an error text that are stored."""

_REPLACEMENT_CHARACTER = "\ufffd"


def storable_text(text: str) -> str:
    """Return ``text`` in a form that every database accepts.

    The result has the first :data:`MAX_TEXT_LENGTH` characters, and the number of those left out. NUL and lone
    surrogates are replaced.
    """
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
    """Return the error as it is logged and stored: ``name`` (by default its class) and its own text, storable."""
    try:
        error_text = str(error)
    except BaseException:  # str(error) is the author's code, which may fail too
        error_text = "(its text is not available)"
    return storable_text(f"{name or type(error).__name__}: {error_text}")
