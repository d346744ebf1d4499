from __future__ import annotations

import subprocess
import sys

import cometbot
from cometbot import errors, events


def test_public_names_are_listed_sorted_and_exist() -> None:
    assert sorted(cometbot.__all__) == cometbot.__all__
    assert all(hasattr(cometbot, name) for name in cometbot.__all__)


def test_every_event_class_is_public() -> None:
    own = {name for name, item in vars(events).items() if getattr(item, "__module__", "") == events.__name__}
    assert own <= set(cometbot.__all__)


def test_public_errors_are_those_that_handlers_catch() -> None:
    public = {name for name in cometbot.__all__ if getattr(cometbot, name) is getattr(errors, name, None)}
    ends = {"AskCancelled", "AskEnded", "AskGivenUp", "AskReplaced", "AskTimeout", "NotDelivered", "OnceUncertain"}
    others = {
        "AgentLimit",
        "BotError",
        "ChannelError",
        "CometbotError",
        "ConfigurationError",
        "FieldError",
        "NotFound",
        "Rejected",
        "TokenBudgetExceeded",
    }
    assert public == ends | others


def test_core_imports_no_web_client_or_database_library() -> None:
    script = "import sys, cometbot, cometbot.dispatch; print(*(name.partition('.')[0] for name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert not {"flask", "requests", "sqlalchemy", "marshmallow", "urllib3"} & set(loaded)
