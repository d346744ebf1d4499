"""Hints for errors of CometChat's API, for those who configure a bot."""

from __future__ import annotations

from cometbot.errors import AuthenticationFailed, ChannelError, OutcomeUnknown, RateLimited, Rejected

_API_KEY_HINT = (
    "copy a REST API key (scope fullAccess) from CometChat's dashboard, API & Auth Keys, into COMETCHAT_API_KEY"
)
_APP_HINT = "check COMETCHAT_APP_ID and COMETCHAT_REGION against CometChat's dashboard"
_PLAN_HINT = (
    "the app's plan does not allow it, or its quota is reached (an app has at most 25 bots); see cometbot bots list, "
    "or CometChat's dashboard"
)

_HINTS = {
    "AUTH_ERR_NO_ACCESS": f"the API key lacks the right to do this; {_API_KEY_HINT}",
    "AUTH_ERR_APIKEY_NOT_FOUND": f"CometChat does not know the API key; {_API_KEY_HINT}",
    "AUTH_ERR_EMPTY_APIKEY": f"the request had no API key; {_API_KEY_HINT}",
    "ERR_APIKEY_NOT_FOUND": f"CometChat does not know the API key; {_API_KEY_HINT}",
    "AUTH_ERR_INVALID_APPID": f"CometChat does not know the app, or not in this region; {_APP_HINT}",
    "AUTH_ERR_EMPTY_APPID": f"the request had no app id; {_APP_HINT}",
    "ERR_BOT_ALREADY_EXISTS": "{name} is a bot already. Change it with cometbot bots update {name}, or make it "
    "match the code with cometbot bots sync",
    "ERR_BOT_NOT_FOUND": "there is no bot {name}. List the bots with cometbot bots list, or create it with "
    "cometbot bots create {name}",
    "ERR_AGENT_NOT_FOUND": "there is no agent {name}. List the agents with cometbot agents list",
    "ERR_UID_NOT_FOUND": "there is no user {name}, or it is deactivated. Create one with cometbot users create {name}",
    "ERR_UID_ALREADY_EXISTS": "the user {name} exists already. If it is deactivated, reactivate it in CometChat's "
    "dashboard",
    "ERR_GUID_NOT_FOUND": "there is no group {name}. CometChat's dashboard lists the groups",
    "ERR_PLAN_RESTRICTION": _PLAN_HINT,
    "ERR_PLAN_QUOTA_RESTRICTION": _PLAN_HINT,
    "ERR_SUBSCRIPTION_EXPIRED": "the app's subscription has ended; see CometChat's dashboard",
    "ERR_API_NOT_FOUND": "this is not CometChat's API of version 3; check COMETCHAT_API_URL, which ends in /v3",
    "ERR_INVALID_API_VERSION": "this is not CometChat's API of version 3; check COMETCHAT_API_URL, which ends in /v3",
}


def get_troubleshooting_hint(error: ChannelError, name: str = "", *, bot: str = "") -> str:
    """Return one sentence with the cause, the remedy and, in brackets, CometChat's error.

    ``name`` is the uid or guid concerned, ``bot`` the bot's uid if that is a different one.
    """
    if isinstance(error, RateLimited):
        return f"CometChat limits the app's requests; try again in {error.retry_after:.0f} seconds ({error})"
    if isinstance(error, OutcomeUnknown):
        if str(error).startswith("GET "):
            return f"CometChat's response is not usable; try again in a moment ({error})"
        return f"the outcome is unknown; check on CometChat before you try again ({error})"
    if not isinstance(error, Rejected):
        return str(error)
    hint = _HINTS.get(error.code)
    if hint is not None:
        about = bot if bot and "_BOT_" in error.code else name
        return f"{hint.format(name=about)} ({error})"
    if isinstance(error, AuthenticationFailed):
        return f"CometChat refused the API key; {_API_KEY_HINT} ({error})"
    fields = "; ".join(f"{field}: {' '.join(texts)}" for field, texts in error.details.items())
    return f"CometChat refused it: {fields} ({error})" if fields else f"CometChat refused it ({error})"
