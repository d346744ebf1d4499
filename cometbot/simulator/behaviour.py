"""How the simulated CometChat behaves where the real one is not documented, and how fast it may be used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One answer to each question that CometChat's documentation leaves open, and its published rate limits.

    ``core_limit`` and ``standard_limit`` are requests a minute. ``redeliver`` are the seconds after which a callback
    that was not answered with a 2xx is posted again, one entry an attempt. With ``callback_threads`` over 1 the
    callbacks of one bot run side by side, those of one conversation still in order. ``repeated_muid`` says what
    becomes of a message whose sender has used its ``muid`` before: ``accept`` stores it as another message, ``same``
    answers with the first. ``parent_id_in_body`` makes ``parentId`` in the body of a plain send open a thread.
    ``media_access`` is how files are protected: ``presigned`` URLs, or ``token`` (a plain GET is refused).
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
