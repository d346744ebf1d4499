"""Exceptions as JSON, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cometbot import BotError
from cometbot.stored_errors import MAX_ATTRIBUTE_LENGTH, error_from_json, error_to_json


class StatusError(Exception):
    """An error as HTTP clients have it: with attributes, and made with other arguments than it keeps."""

    def __init__(self, message: str, *, status: int, response: object, body: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.response = response
        self.body = body

    def __str__(self) -> str:
        return f"{self.status}: {self.args[0]}"


def restore(error: Exception) -> Any:
    return error_from_json(json.loads(json.dumps(error_to_json(error))))


def test_error_is_of_its_class_and_has_its_attributes() -> None:
    restored = restore(StatusError("overloaded", status=529, response=object(), body="try later"))
    assert isinstance(restored, StatusError)
    assert (str(restored), restored.status, restored.body) == ("529: overloaded", 529, "try later")


@pytest.mark.parametrize("error", [LookupError("no order", 17), OSError(2, "missing"), KeyError("x")])
def test_errors_of_python_keep_their_arguments(error: Exception) -> None:
    restored = restore(error)
    assert (type(restored), restored.args) == (type(error), error.args)


def test_attributes_that_are_long_or_no_json_are_left_out() -> None:
    restored = restore(StatusError("x", status=500, response=object(), body="x" * MAX_ATTRIBUTE_LENGTH))
    assert vars(restored) == {"status": 500}


def test_error_of_a_class_that_is_gone_is_a_bot_error() -> None:
    class Gone(Exception):
        pass

    restored = restore(Gone("old"))
    assert isinstance(restored, BotError)
    assert "Gone: old" in str(restored)
