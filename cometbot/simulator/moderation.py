"""The app's moderation: asks the URLs of its rules about a new message, and delivers it unless one blocks it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from cometbot.simulator import messaging
from cometbot.simulator.client import CallbackResponse, Session, basic_auth, make_session, send
from cometbot.simulator.journal import mask_headers
from cometbot.simulator.records import MODERATED_CONTENTS, ModerationRule, StoredMessage
from cometbot.simulator.world import World

log = logging.getLogger(__name__)

CALL_TRIGGER = "moderation"
"""The trigger of the calls of rules in the log."""

MAX_DECISIONS = 50
_MAX_FAILURE_BODY = 2048


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision about a message in one pass: about its text, or about its file.

    ``outcome`` is ``approved``, ``flagged`` or ``blocked``. ``rule`` is the name of the rule that decided, empty if
    none applied. ``error`` is the category of the last failure of a rule's URL.
    """

    message_id: str
    sender: str
    text: str
    content: str
    outcome: str
    rule: str = ""
    confidence: float | None = None
    reason: str = ""
    error: str = ""


@dataclass(slots=True)
class _Pass:
    """One pass over the rules, for one kind of content."""

    content: str
    outcome: str = "approved"
    rule: ModerationRule | None = None
    confidence: float | None = None
    reason: str = ""
    failures: list[dict[str, Any]] = field(default_factory=list)


class Moderator:
    """Judges the messages of each conversation in their order, once started.

    Its state is guarded by the world's lock, which is notified at each change. ``decisions`` are the newest, the oldest
    first.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._pending: dict[str, deque[tuple[StoredMessage, Mapping[str, str] | None]]] = {}
        self._judging: set[str] = set()
        self._is_started = False
        self.decisions: deque[Decision] = deque(maxlen=MAX_DECISIONS)

    def hold(self, message: StoredMessage, origin: Mapping[str, str] | None) -> bool:
        """Queue a new message if a rule applies to it, and return True if so. Called with the world's lock held."""
        if message.conversation_id not in self._pending and not any(self._find_rules(message)):
            return False
        held = self._set_status(message, {"status": "pending"})
        self._report_change(held)
        self._pending.setdefault(message.conversation_id, deque()).append((held, origin))
        if self._is_started:
            self._start_thread(message.conversation_id)
        return True

    def start(self) -> None:
        """Judge the queued messages, and those that are added later."""
        with self._world.condition:
            self._is_started = True
            for conversation in self._pending:
                self._start_thread(conversation)

    def stop(self) -> None:
        """Stop after the messages that are being judged. The others wait for the next start."""
        with self._world.condition:
            self._is_started = False

    def clear(self) -> None:
        """Discard all queued messages and the decisions."""
        with self._world.condition:
            self._pending.clear()
            self.decisions.clear()
            self._world.condition.notify_all()

    def to_json(self) -> dict[str, Any]:
        """Return the rules, without their credentials, the setting for errors, and the decisions, newest first."""
        with self._world.condition:
            return {
                "rules": [_rule_to_json(rule) for rule in self._world.moderation_rules.values()],
                "onError": self._world.behaviour.moderation_error,
                "decisions": [asdict(decision) for decision in reversed(self.decisions)],
            }

    @property
    def is_idle(self) -> bool:
        """True if no message waits for a decision."""
        with self._world.condition:
            return not self._pending

    def _start_thread(self, conversation: str) -> None:
        if conversation not in self._judging:
            self._judging.add(conversation)
            name = f"simulator-moderation-{conversation}"
            threading.Thread(target=self._run, args=(conversation,), name=name, daemon=True).start()

    def _run(self, conversation: str) -> None:
        with make_session() as session:
            while (held := self._find_next(conversation)) is not None:
                self._process(session, *held)

    def _find_next(self, conversation: str) -> tuple[StoredMessage, Mapping[str, str] | None] | None:
        """Return the next message of a conversation and its origin, or None if its thread has to end."""
        with self._world.condition:
            queue = self._pending.get(conversation)
            if queue and self._is_started:
                return queue[0]
            self._judging.discard(conversation)
            return None

    def _process(self, session: Session, message: StoredMessage, origin: Mapping[str, str] | None) -> None:
        passes: list[_Pass] = []
        try:
            for content in _find_contents(message):
                passes.append(self._judge(session, message, content))
                if passes[-1].outcome == "blocked":
                    break
        except Exception:
            log.exception("cannot moderate a message")
        with self._world.condition:
            queue = self._pending.get(message.conversation_id)
            if not queue or queue[0][0] is not message:  # everything was deleted meanwhile
                return
            queue.popleft()
            if not queue:
                del self._pending[message.conversation_id]
            self._settle(message, origin, passes)
            self._world.condition.notify_all()

    def _judge(self, session: Session, message: StoredMessage, content: str) -> _Pass:
        """Ask the rules for this kind of content, until one of them acts."""
        result = _Pass(content)
        with self._world.condition:
            rules = [rule for rule in self._find_rules(message) if content in rule.contents]
            body = self._make_request(message)
            behaviour = self._world.behaviour
        for rule in rules:
            answer = self._call(session, rule, message, body)
            decision = _read_decision(answer)
            if isinstance(decision, dict):
                if decision["isMatchingCondition"] and decision["confidence"] * 100 > rule.threshold:
                    result.outcome = "blocked" if rule.action == "block" else "flagged"
                    result.rule, result.confidence = rule, decision["confidence"]
                    result.reason = str(decision.get("reason") or "")
                    break
                continue
            result.failures.append(self._make_failure(rule, content, answer, decision, len(orjson.dumps(body))))
            if behaviour.moderation_error == "drop-message":
                result.outcome, result.rule = "blocked" if rule.action == "block" else "flagged", rule
                break
        return result

    def _make_request(self, message: StoredMessage) -> dict[str, Any]:
        """Return the body of the requests about a message. Called with the world's lock held."""
        count = self._world.behaviour.moderation_context
        earlier = [
            item
            for item in self._world.message_store.messages(message.conversation_id)
            if item.number < message.number and item.text and not item.is_action and not item.deleted_at
        ]
        context = [{item.sender: item.text} for item in earlier[-count:]] if count else []
        shown = self._world.serializer.message(message)
        # In CometChat's own sample the key is the receiver's uid, not the sender's.
        return {"contextMessages": [*context, {message.receiver: shown}]}

    def _call(
        self, session: Session, rule: ModerationRule, message: StoredMessage, body: Mapping[str, Any]
    ) -> CallbackResponse:
        headers = {"Content-Type": "application/json", "User-Agent": "CometChat-simulator"}
        if rule.credentials:
            headers["Authorization"] = basic_auth(*rule.credentials)
        timeout = self._world.behaviour.moderation_timeout
        answer = send(session, "POST", rule.url, orjson.dumps(body), headers, timeout)
        self._world.journal.add_callback(
            self._world.clock(),
            target=rule.id,
            url=rule.url,
            trigger=CALL_TRIGGER,
            message_id=message.id,
            headers=mask_headers(headers),
            body=body,
            status=answer.status,
            answer=answer.text,
            error=answer.error,
            seconds=answer.seconds,
        )
        return answer

    def _make_failure(
        self, rule: ModerationRule, content: str, answer: CallbackResponse, problem: str, body_bytes: int
    ) -> dict[str, Any]:
        category = _find_category(answer)
        error = f"Your moderation endpoint returned HTTP {answer.status}." if answer.status else answer.error
        failure: dict[str, Any] = {
            "category": category,
            "errorMessage": problem if category == "invalid_response" else error,
            "responseBodyTruncated": len(answer.text) > _MAX_FAILURE_BODY,
            "timeoutMs": int(self._world.behaviour.moderation_timeout * 1000),
            "failedAt": self._world.now(),
            "context": {
                "engine": "custom_api",
                "setting": self._world.behaviour.moderation_error,
                "rule": self._rule_json(rule),
                "condition": {
                    "entity": "message",
                    "operand": content,
                    "category": "custom-api",
                    "operator": "contains",
                    "listId": rule.id,
                    "threshold": {"comparison": "greaterThan", "percent": rule.threshold},
                },
                "request": {
                    "url": rule.url.partition("?")[0],
                    "method": "POST",
                    "bodyBytes": body_bytes,
                    "basicAuthSent": rule.credentials is not None,
                },
            },
        }
        if answer.status:
            failure |= {"httpStatus": answer.status, "responseBody": answer.text[:_MAX_FAILURE_BODY]}
        if category == "invalid_response":
            failure["validationErrors"] = [problem]
        return failure

    def _settle(self, message: StoredMessage, origin: Mapping[str, str] | None, passes: list[_Pass]) -> None:
        """Deliver or block a message, and report it to webhooks. Called with the world's lock held."""
        for item in passes:
            self.decisions.append(_to_decision(message, item))
        blocked = next((item for item in passes if item.outcome == "blocked"), None)
        acting = blocked or next((item for item in passes if item.rule is not None), None)
        status: dict[str, Any] = {"status": "disapproved" if blocked else "approved"}
        if acting is not None and acting.rule is not None:
            status["rule"] = self._rule_json(acting.rule)
        stored = self._world.message_store.find(message.id)
        if stored is None or stored.deleted_at:  # it was deleted meanwhile
            return
        settled = self._set_status(stored, status)
        data: dict[str, Any] = {"message": self._world.serializer.message(settled, with_tags=True), "moderation": []}
        if acting is not None and acting.rule is not None:
            action = ["blockMessage"] if acting.rule.action == "block" else ["flagMessage"]
            data["moderation"] = [{"rule": {**self._rule_json(acting.rule), "action": action}}]
        if blocked is None:
            messaging.emit_sent(self._world, settled, origin)
            if acting is not None:
                self._world.flagged.add(settled.id)
        name = "moderation_engine_blocked" if blocked else "moderation_engine_approved"
        self._world.emit(name, data, message=settled)
        for item in passes:
            if item.failures:
                self._world.emit("moderation_engine_failed", self._failure_data(settled, item), message=settled)

    def _failure_data(self, message: StoredMessage, item: _Pass) -> dict[str, Any]:
        shown = self._world.serializer.message(message)
        names = ("id", "conversationId", "sender", "receiverType", "receiver", "category", "type", "sentAt")
        return {
            "resource": {name: shown[name] for name in names},
            "contentType": item.content,
            "outcome": "disapproved" if item.outcome == "blocked" else "approved",
            "completedAt": self._world.now(),
            "failures": item.failures,
        }

    def _rule_json(self, rule: ModerationRule) -> dict[str, Any]:
        return {"id": rule.id, "name": rule.name, "revisionId": f"{self._world.app_id}_{rule.id}_1"}

    def _find_rules(self, message: StoredMessage) -> Iterator[ModerationRule]:
        contents = set(_find_contents(message))
        for rule in self._world.moderation_rules.values():
            if rule.enabled and contents.intersection(rule.contents):
                yield rule

    def _set_status(self, message: StoredMessage, status: Mapping[str, Any]) -> StoredMessage:
        return self._world.message_store.update(replace(message, data={**message.data, "moderation": status}))

    def _report_change(self, message: StoredMessage) -> None:
        """Log a message that waits, so that the page shows it. No webhook reports it."""
        data = {"message": self._world.serializer.message(message, with_tags=True)}
        self._world.journal.add_change(self._world.clock(), "message_pending", data)


def _rule_to_json(rule: ModerationRule) -> dict[str, Any]:
    return {name: value for name, value in asdict(rule).items() if name != "credentials"}


def _find_contents(message: StoredMessage) -> Iterator[str]:
    """Yield what of a message is judged: its text or caption first, then its files."""
    if message.category != "message":
        return
    if message.text:
        yield "text"
    if message.type != "text" and message.type in MODERATED_CONTENTS:
        yield message.type


def _read_decision(answer: CallbackResponse) -> dict[str, Any] | str:
    """Return the decision in a response, or why it is none."""
    if not 200 <= answer.status < 300:
        return "no decision"
    try:
        body = orjson.loads(answer.text)
    except ValueError:
        return "The body is not JSON."
    if not isinstance(body, dict) or not isinstance(body.get("isMatchingCondition"), bool):
        return "isMatchingCondition must be a boolean."
    confidence = body.get("confidence")
    if not isinstance(confidence, int | float) or isinstance(confidence, bool) or not 0 <= confidence <= 1:
        return "confidence must be a number between 0 and 1."
    return body


def _find_category(answer: CallbackResponse) -> str:
    if not answer.status:
        return "timeout" if "Timeout" in answer.error else "connection_error"
    if answer.status < 300:
        return "invalid_response"
    return "http_5xx" if answer.status >= 500 else "http_4xx"


def _to_decision(message: StoredMessage, item: _Pass) -> Decision:
    return Decision(
        message.id,
        message.sender,
        message.text,
        item.content,
        item.outcome,
        rule=item.rule.name if item.rule else "",
        confidence=item.confidence,
        reason=item.reason,
        error=item.failures[-1]["category"] if item.failures else "",
    )
