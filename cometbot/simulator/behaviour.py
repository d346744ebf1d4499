"""Settings for behaviour that CometChat does not document, and for its rate limits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One answer to each question that CometChat's documentation leaves open, and its published rate limits.

    ``core_limit`` and ``standard_limit`` are in requests per minute. ``redeliver`` holds the delays in seconds, one per
    attempt, after which a callback that got no 2xx is posted again. With ``callback_threads`` over 1, the callbacks of
    one bot are posted in parallel; those of one conversation stay in order. ``repeated_muid`` decides what happens to a
    message whose sender has used its ``muid`` before: ``accept`` stores it as another message, ``same`` returns the
    first. With ``parent_id_in_body``, ``parentId`` in the body of a plain send opens a thread. ``media_access`` is how
    files are protected: ``presigned`` URLs, or ``token`` (a plain GET is refused).

    The settings of the moderation: ``moderation_context`` is how many earlier texts its rules get (0 to 10),
    ``moderation_error`` the dashboard's "On Custom API Error" (``approve-message``, or ``drop-message``, which applies
    the rule's action). ``moderation_timeout`` is in seconds.
    """

    core_limit: int = 10_000
    standard_limit: int = 20_000
    redeliver: tuple[float, ...] = ()
    callback_timeout: float = 10.0
    callback_threads: int = 1
    relay_to_non_members: bool = False
    relay_own_messages: bool = False
    relay_messages_of_bots: bool = True
    send_needs_membership: bool = True
    repeated_muid: str = "accept"
    parent_id_in_body: bool = False
    categories: tuple[str, ...] = ("message", "custom", "interactive", "card")
    media_access: str = "presigned"
    moderation_context: int = 10
    moderation_error: str = "approve-message"
    moderation_timeout: float = 2.0
