from __future__ import annotations

import inspect

import pytest

from cometbot import errors

CLASSES = [item for item in vars(errors).values() if inspect.isclass(item) and issubclass(item, Exception)]


@pytest.mark.parametrize("error", CLASSES)
def test_error_derives_from_root_and_has_default_text(error: type[Exception]) -> None:
    assert issubclass(error, errors.CometbotError)
    made = error(retry_after=1) if error is errors.RateLimited else error()  # type: ignore[call-arg]
    assert str(made) == (error.__doc__ or "").strip().partition("\n")[0]


def test_error_has_a_text_it_says_that_one() -> None:
    assert str(errors.BotError("no such thing")) == "no such thing"


def test_rejected_has_code_status_and_details() -> None:
    error = errors.NotFound("no user", code="ERR_UID_NOT_FOUND", status=404, details={"uid": ["unknown"]})
    assert isinstance(error, errors.Rejected)
    assert (error.code, error.status, error.details) == ("ERR_UID_NOT_FOUND", 404, {"uid": ["unknown"]})


def test_payload_error_keeps_a_copy_of_its_details() -> None:
    texts = ["must be a str"]
    error = errors.PayloadError(details={"data.text": texts})
    texts.append("later")
    assert error.details == {"data.text": ["must be a str"]}


def test_uncertain_and_rate_limited_attributes() -> None:
    uncertain = errors.OutcomeUnknown(down=True, status=503)
    assert (uncertain.down, uncertain.status) == (True, 503)
    assert errors.RateLimited(retry_after=2.5).retry_after == 2.5
