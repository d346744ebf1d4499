"""Payloads of CometChat: each is answered 200, and handled or ignored without a dead letter."""

from __future__ import annotations

import json

from tests.cases.case import Case, Check, Finding, check
from tests.cases.server import Server, wait_for

STORED, ANY = "stored and handled", "stored and handled, or ignored"

TEXTS = {
    "callback/lone-surrogate-text": "ok \ufffd",
    "callback/times-with-fraction": "hello",
    "callback/updatedat-missing": "hello",
    "callback/utf8-bom": "hi",
}
"""Messages whose text the handler gets."""

EXPECTED = {
    "callback/action-deleted-id-only": STORED,
    "callback/action-deleted-text-without-text": STORED,
    "callback/action-edited-action": STORED,
    "callback/action-edited-agentic": STORED,
    "callback/action-edited-call": STORED,
    "callback/action-edited-no-id": STORED,
    "callback/action-edited-without-on": STORED,
    "callback/action-empty-php-data": STORED,
    # Without data nothing says which conversation it is about.
    "callback/callback-unknown-trigger-data-list": ANY,
    "callback/callback-unknown-trigger-data-null": ANY,
    "callback/callback-unknown-trigger-no-data": ANY,
    "callback/callback-user-mentioned-wrapped": STORED,
    "callback/callback-wrapped-in-data-message": STORED,
    "callback/custom-empty-php-data": STORED,
    "callback/receivertype-unknown": STORED,
    "callback/text-deleted-before-delivery": STORED,
    "callback/text-null": STORED,
    **dict.fromkeys(TEXTS, STORED),
    "callback/webhook-data-list": ANY,
    "callback/webhook-data-null": ANY,
    "callback/webhook-member-no-group": ANY,
    "callback/webhook-message-deleted-flat-no-text": STORED,
    "callback/webhook-message-deleted-id-only": ANY,
    "callback/webhook-message-edited-agentic": STORED,
    "callback/webhook-no-data": ANY,
    "callback/webhook-reaction-long": ANY,
    "callback/webhook-reaction-new-shape": STORED,
    "callback/webhook-receivertype-unknown": STORED,
}


NUMBERS = (-1, 1.5, 2**63 - 1, True)


def number_check(party: str) -> Check:
    """The input, and the same with other numbers in the place of the user; each is a message of its own."""

    def post(case: Case) -> Finding:
        server = Server(case).start()
        body = json.loads(case.read("input.json"))
        entities, first = body["data"]["data"]["entities"], body["data"]["data"]["entities"][party]["entity"]
        statuses = {}
        for nth, number in enumerate((first, *NUMBERS)):
            entities[party]["entity"], body["data"]["id"] = number, str(9001 + nth)
            statuses[str(number)] = server.callback(json.dumps(body).encode()).status_code
        wait_for(lambda: all(state in ("done", "dead") for _, state in server.rows()), 20)
        heard = [(event["kind"], event["text"]) for event in server.handled_events()]
        is_well = set(statuses.values()) == {200} and heard == [("MessageEvent", "hi")] * len(statuses)
        return Finding("200 and handled as MessageEvent 'hi', each", f"{statuses}, handled {heard}", is_well)

    return post


def payload_check(name: str) -> Check:
    """Post the input, and look at the answer, the mailbox and what the handler got."""

    def post(case: Case) -> Finding:
        server = Server(case).start()
        path = "/cometchat/demo_bot/webhook" if "/webhook-" in name else "/cometchat/demo_bot"
        answer = server.callback(case.read("input.json"), path)
        expected = f"200, {EXPECTED[name]}"
        if answer.status_code != 200:
            return Finding(expected, f"{answer.status_code} {answer.text[:200]}", False)
        if "ignored" in answer.text:
            return Finding(expected, "200, ignored", EXPECTED[name] == ANY and server.rows() == [])
        wait_for(lambda: all(state in ("done", "dead") for _, state in server.rows()))
        rows, heard = server.rows(), server.handled_events()
        kinds = ", ".join(f"{event['kind']} {event['text']!r}" for event in heard) or "nothing"
        states = ", ".join(f"{key} {state}" for key, state in rows) or "nothing stored"
        is_well = [state for _, state in rows] == ["done"] and len(heard) == 1
        if name in TEXTS:
            expected += f" as MessageEvent {TEXTS[name]!r}"
            is_well = is_well and (heard[0]["kind"], heard[0]["text"]) == ("MessageEvent", TEXTS[name])
        return Finding(expected, f"200, {states}, handled {kinds}", is_well)

    return post


for _name in EXPECTED:
    check(_name)(payload_check(_name))
for _party in ("receiver", "sender"):
    check(f"callback/entity-{_party}-number")(number_check(_party))
