"""Interactive forms of CometChat: how a form is shown, and what its submission contains. No I/O.

A form's button calls a signed address of this server, because CometChat itself reports no submission to a bot.
"""

from __future__ import annotations

from typing import Any

from cometbot.channels.cometchat.schemas import FormSubmissionSchema
from cometbot.errors import PayloadError
from cometbot.field_values import choices_of, describe_value, label_of, option_value, split_options
from cometbot.fields import OPTION_SEPARATOR, YES, Field
from cometbot.messages import Form

DATA_KEY = "form"
"""The key of a submission's values in the body that the user's app sends."""

_SUBMIT_ID = "cometbot:submit"
_LONG_LINES = 5
_SUBMISSION = FormSubmissionSchema()


def render_form(form: Form, url: str) -> dict[str, Any]:
    """Return the ``interactiveData`` of a form whose button calls ``url``."""
    return {
        "title": form.title,
        "formFields": [_render_field(field) for field in form.fields],
        "submitElement": {
            "elementType": "button",
            "elementId": _SUBMIT_ID,
            "buttonText": form.submit,
            "disableAfterInteracted": True,
            "action": {
                "actionType": "apiAction",
                "url": url,
                "method": "POST",
                "headers": {"Content-Type": "application/json"},
                "payload": {},
                "dataKey": DATA_KEY,
            },
        },
    }


def read_submission(payload: object) -> dict[str, str]:
    """Return the values of a submitted form, by field name, as texts. Raises :class:`PayloadError` for other bodies."""
    errors = _SUBMISSION.validate(payload) if isinstance(payload, dict) else {DATA_KEY: ["Not an object."]}
    if errors or not isinstance(payload, dict):
        raise PayloadError(f"a form's submission: expected an object of values under {DATA_KEY!r}, got something else")
    return {name: _to_text(value) for name, value in _find_values(payload[DATA_KEY]).items()}


def _find_values(submitted: dict[str, Any]) -> dict[str, Any]:
    """Return the values by element id: ``submitted`` itself, or what some clients put below its ``data``."""
    data = submitted.get("data")
    inner = data.get("formData") if isinstance(data, dict) else None
    return inner if isinstance(inner, dict) else submitted


def _to_text(value: object) -> str:
    if isinstance(value, list):
        return OPTION_SEPARATOR.join(str(item) for item in value if isinstance(item, str | int | float))
    if isinstance(value, bool):
        return YES if value else ""
    return str(value) if isinstance(value, str | int | float) else ""


def _render_field(field: Field) -> dict[str, Any]:
    element = {"elementId": field.name, "label": label_of(field), "optional": field.optional}
    default = str(field.default)
    if field.kind == "checkbox":
        options = [{"value": YES, "label": label_of(field)}]
        return {
            **element,
            "elementType": "checkbox",
            "options": options,
            "defaultValue": [YES] if default == YES else [],
        }
    options = [{"value": option_value(option), "label": option.label} for option in choices_of(field)]
    if field.kind == "multi_select":
        chosen = split_options(default, [option["value"] for option in options]) or []
        return {**element, "elementType": "checkbox", "options": options, "defaultValue": chosen}
    if field.kind == "select":
        return {**element, "elementType": "dropdown", "options": options, "defaultValue": default}
    return {
        **element,
        "elementType": "textInput",
        "maxLines": _LONG_LINES if field.kind == "long_text" else 1,
        "defaultValue": default,
        "placeholder": {"text": describe_value(field)},
    }
