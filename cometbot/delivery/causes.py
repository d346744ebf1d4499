"""Why something failed, in words that can be kept, whoever chose them."""

from __future__ import annotations

LONGEST = 4000
"""Characters of a cause that are kept."""

_NO_CHARACTER = "\ufffd"


def storable(text: str) -> str:
    """``text`` as every database takes it: the first :data:`LONGEST` characters, without NUL and halves of
    characters."""
    short = text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text) - LONGEST} more characters)"
    return short.replace("\0", _NO_CHARACTER).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def describe(error: BaseException, name: str = "") -> str:
    """What was raised, as it is told and kept: ``name`` (the class, if empty) and the error's own text, storable."""
    try:
        text = str(error)
    except BaseException:  # its author's code, which may fail like any other
        text = "(its text cannot be read)"
    return storable(f"{name or type(error).__name__}: {text}")
