"""One conversation being worked through: its outbox first, then its mailbox, message by message."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy.engine import Connection

from cometbot.bot import Bot
from cometbot.channels.base import Channel, Incoming
from cometbot.delivery.leases import Lease, Process
from cometbot.delivery.mailbox import MAX_CRASHES, Mail
from cometbot.delivery.observer import Observer
from cometbot.delivery.outbox import SENDING, UNKNOWN, Draft, Note, Reply
from cometbot.delivery.outlet import LaneOutlet
from cometbot.delivery.pacing import Backoff
from cometbot.delivery.roles import Roles
from cometbot.delivery.running import Run, Running
from cometbot.delivery.sending import Attempt, Sender
from cometbot.delivery.store import Store
from cometbot.dispatch import Outcome, dispatch
from cometbot.errors import ChannelError, LeaseLost, StoreBusy
from cometbot.events import Event
from cometbot.messages import Operation, Text

log = logging.getLogger(__name__)

MAX_MESSAGES = 20
MAX_SECONDS = 2.0
"""After so many messages, or so long, a lane gives way to others."""

Step = Callable[[], list[Note]]
"""Something that a lane does between two commits; returns what became of the replies that it sent."""

T = TypeVar("T")

_RETRY = 0.2
_SUSPECTS_TURN = 0.3
_FETCH = Backoff(first=1.0, most=60.0)
_MAX_FETCHES = 12


@dataclass(frozen=True, slots=True)
class Wake:
    """When a conversation is gone on with (0: at the tail of the queue), and whether with a reply or a message."""

    at: float
    to_send: bool


@dataclass(frozen=True)
class Equipment:
    """What all lanes of a process work with. ``wake(lane, at, to_send=…)``: see ``crew.Crew.wake``."""

    store: Store
    process: Process
    bots: Mapping[str, Bot]
    channels: Mapping[str, Channel]
    sender: Sender
    running: Running
    observer: Observer
    roles: Roles
    wake: Callable[..., None]
    is_stopping: Callable[[], bool] = field(default=lambda: False)

    def persist(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """What ``work`` returns, done in one transaction.

        Where the database does not take it, it is done again until it does: a handler that has run must not run again
        because the database was away. ``work`` must bear being repeated, and checks that the lease is still held. Only
        a process that stops waits no longer than its leases hold.
        """
        return self._insist(lambda: self.store.database.together(work, durable=durable))

    def look(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` finds in the database, which is waited for as by :meth:`persist`."""

        def read() -> T:
            with self.store.database.read() as connection:
                return work(connection)

        return self._insist(read)

    def _insist(self, do: Callable[[], T]) -> T:
        while True:
            try:
                return do()
            except StoreBusy:
                if self.is_stopping() and self.process.remaining() < _RETRY:
                    raise
                time.sleep(_RETRY)


def work_through(equipment: Equipment, lane: str) -> None:
    """Work on one conversation until nothing is due in it, it is somebody else's, or it is others' turn.

    A conversation of a bot or channel that is not served here is left alone, and so is one where others have to go on:
    those who send, or those who handle. Never raises: what goes wrong unforeseen is logged, and the conversation goes
    on a little later.
    """
    if not equipment.roles.serve(lane):
        return
    try:
        with equipment.process.lease_token() as token:
            _work_under(equipment, lane, token)
    except StoreBusy as error:
        log.warning("could not work on a conversation now: %s", error, extra={"conversation": lane})


def _work_under(equipment: Equipment, lane: str, token: str) -> None:
    together = equipment.store.database.together
    lease = together(lambda connection: _claim(equipment, connection, lane, token), durable=False)
    if lease is None:
        return
    if lease.recovered:
        log.warning("took over a conversation whose worker had died", extra={"conversation": lane})
        equipment.observer.recovered(lease.conversation.bot)
    try:
        Lane(equipment, lease).run()
    except LeaseLost:
        log.warning("lost a conversation to another worker", extra={"conversation": lane})
    except StoreBusy as error:
        log.warning("gave a conversation back for a moment: %s", error, extra={"conversation": lane})
        _give_back_later(equipment, lease)
    except Exception:
        log.exception("a lane failed in an unforeseen way and is tried again", extra={"conversation": lane})
        _give_back_later(equipment, lease)
    finally:
        equipment.running.absolve(lease)


def _claim(equipment: Equipment, connection: Connection, lane: str, token: str) -> Lease | None:
    """The lease, if there is something that this process can do: it sends here, or nothing waits to be sent."""
    roles, store = equipment.roles, equipment.store
    if not (roles.can(lane, to_send=True) and roles.can(lane, to_send=False)):
        has_replies = store.outbox.next(connection, lane) is not None
        if not roles.can(lane, to_send=has_replies):
            return None
    return store.leases.claim(connection, lane, equipment.process.token, token)


def _give_back_later(equipment: Equipment, lease: Lease) -> None:
    due_at = equipment.store.database.clock() + 5
    try:
        with equipment.store.database.write(durable=False) as connection:
            equipment.store.leases.release(connection, lease, due_at=due_at, more=True)
    except LeaseLost:
        log.info("had given a conversation back already", extra={"conversation": lease.lane})


class Lane:
    """The work under one lease. Every commit checks that the lease still holds; no transaction is open while author
    code or HTTP runs."""

    def __init__(self, equipment: Equipment, lease: Lease) -> None:
        self._equipment = equipment
        self._store = equipment.store
        self._lease = lease
        self._conversation = lease.conversation
        self._bot = equipment.bots[lease.conversation.bot]
        self._channel = equipment.channels[lease.conversation.channel]
        self._wake: Wake | None = None

    def run(self) -> None:
        """Work until nothing is left to be done now, or it is another conversation's turn."""
        notes: list[Note] = []
        done, began = 0, time.monotonic()
        while True:
            is_tired = done >= MAX_MESSAGES or time.monotonic() - began > MAX_SECONDS or self._equipment.is_stopping()
            step = self._next(notes, is_tired)
            if step is None:
                return
            notes = step()
            done += 1
            self._equipment.running.absolve(self._lease)

    def _next(self, notes: list[Note], is_tired: bool) -> Step | None:
        """The next thing to do, with what came before noted; None once the lease is released."""
        step = self._equipment.persist(lambda connection: self._look(connection, notes, is_tired), durable=False)
        wake, self._wake = self._wake, None
        if wake is not None and not (self._equipment.is_stopping() and self._can(to_send=wake.to_send)):
            self._equipment.wake(self._lease.lane, at=wake.at or None, to_send=wake.to_send)
        return step

    def _can(self, *, to_send: bool) -> bool:
        return self._equipment.roles.can(self._lease.lane, to_send=to_send)

    def _look(self, connection: Connection, notes: list[Note], is_tired: bool) -> Step | None:
        self._store.leases.clear_mail(connection, self._lease)
        self._store.record(connection, self._lease, notes)
        reply = self._store.outbox.next(connection, self._lease.lane)
        if is_tired:
            return self._release(connection, 0.0, to_send=reply is not None)
        if reply is not None:
            return self._next_reply(connection, reply)
        mail = self._store.mailbox.head(connection, self._lease.lane)
        return self._next_mail(connection, mail) if mail else self._release(connection)

    def _release(self, connection: Connection, due_at: float | None = None, *, to_send: bool = False) -> Step | None:
        """Give the conversation back: for good, to be gone on with at ``due_at``, or at the tail of the queue (0).

        ``to_send``: a reply is what it goes on with, a message otherwise.
        """
        self._store.leases.release(connection, self._lease, due_at=due_at or None, more=due_at == 0.0)
        self._wake = None if due_at is None else Wake(due_at, to_send)
        return None

    def _next_reply(self, connection: Connection, reply: Reply) -> Step | None:
        if not self._can(to_send=True):
            return self._release(connection, 0.0, to_send=True)
        policy, now = self._equipment.sender.policy, self._store.database.clock()
        look, due_at = reply.state in (SENDING, UNKNOWN), reply.due_at or 0.0
        if reply.state == SENDING:
            due_at = (reply.began_at or now) + policy.timeout
            note = Note(reply, UNKNOWN, error="its worker died while it was sent", due_at=due_at, tried=1)
            self._store.record(connection, self._lease, [note])
        if due_at > now:
            return self._release(connection, due_at, to_send=True)
        wait = self._store.pauses.wait(connection, self._conversation.key, policy.timeout)
        if wait.seconds > 0:
            return self._release(connection, now + wait.seconds + Backoff(first=0.02).seconds(0), to_send=True)
        self._store.outbox.begin(connection, reply)
        attempt = Attempt(reply, look=look, probing=wait.probing)
        return lambda: self._equipment.sender.send_all(self._lease, [attempt])

    def _next_mail(self, connection: Connection, mail: Mail) -> Step | None:
        if not self._can(to_send=False):
            return self._release(connection, 0.0)
        if mail.due_at is not None and mail.due_at > self._store.database.clock():
            return self._release(connection, mail.due_at)
        if mail.crashes >= MAX_CRASHES:
            error = f"its process died {mail.crashes} times while it was handled"
            self._store.mailbox.dead(connection, mail, "", error)
            log.error("gave up a message: %s", error, extra=self._extra(mail))
            self._equipment.observer.handled(self._conversation.bot, 0.0, "dead")
            return list
        if mail.crashes and not self._equipment.running.suspect(self._lease):
            return self._release(connection, self._store.database.clock() + _SUSPECTS_TURN)
        self._store.mailbox.start(connection, mail)
        return lambda: self._handle(mail)

    def _handle(self, mail: Mail) -> list[Note]:
        began = time.monotonic()
        incoming = Incoming(self._conversation, mail.key, mail.body, mail.sender, mail.received_at)
        outlet = LaneOutlet(self._equipment, self._lease, mail)
        try:
            event = self._channel.parse(incoming)
        except (ChannelError, StoreBusy) as error:
            return self._fetch_later(mail, error)
        except Exception as error:
            log.error("gave up a message that does not parse", exc_info=error, extra=self._extra(mail))
            return self._finish(mail, outlet, Outcome(error=error), began)
        return self._finish(mail, outlet, self._dispatch(event, outlet, mail), began)

    def _dispatch(self, event: Event, outlet: LaneOutlet, mail: Mail) -> Outcome:
        is_bot = self._channel.is_bot(event.sender.uid)
        self._show_work(True)
        try:
            outcome = dispatch(self._bot, event, outlet, failures=mail.failures, sender_is_bot=is_bot)
        finally:
            self._equipment.running.end(self._lease)
            self._show_work(False)
        if outcome.error is not None:
            level = logging.ERROR if outcome.retry_in is None else logging.WARNING
            text = "%s raised" if outcome.retry_in is None else "%s raised and is tried again"
            name = f"the handler {outcome.handler}" if outcome.handler else "a middleware"
            log.log(level, text, name, exc_info=outcome.error, extra=self._extra(mail))
        return outcome

    def _show_work(self, on: bool) -> None:
        try:
            self._channel.working(self._conversation, on)
        except Exception:
            log.debug("could not show that a bot is at work", exc_info=True, extra={"conversation": self._lease.lane})

    def _finish(self, mail: Mail, outlet: LaneOutlet, outcome: Outcome, began: float) -> list[Note]:
        """One durable commit: the answers, the changed state, and the end of the message; then the answers are sent."""
        drafts, operations, outcome = self._draft(outlet, outcome)
        ended = "done" if outcome.handler else "stopped" if outcome.stopped_by else "unhandled"
        if outcome.error is not None:
            ended = "failed" if outcome.retry_in is None else "retried"

        def end(connection: Connection) -> None:
            if self._end(connection, mail, outcome):
                self._store.state.apply(connection, outcome.changes)

        attempts = outlet.commit(drafts, operations, end)
        self._equipment.observer.handled(self._conversation.bot, time.monotonic() - began, ended)
        if ended == "failed" and outcome.error is not None:
            self._equipment.observer.failed(self._conversation.bot, mail.key, outcome.error)
        return self._equipment.sender.send_all(self._lease, attempts) if attempts else []

    def _draft(self, outlet: LaneOutlet, outcome: Outcome) -> tuple[list[Draft], list[Operation], Outcome]:
        """The answers, rendered. One that its platform would never take makes the message fail instead."""
        operations = list(outcome.operations)
        try:
            drafts = [draft for operation in operations if (draft := outlet.draft(operation)) is not None]
            return drafts, operations, outcome
        except Exception as error:
            log.error("an answer cannot be said: %s", error, exc_info=error, extra={"conversation": self._lease.lane})
            failed = Outcome(handler=outcome.handler, error=error)
        if self._bot.error_text is None:
            return [], [], failed
        outlet.fail()
        said = Operation(conversation=self._conversation, message=Text(self._bot.error_text))
        draft = outlet.draft(said)
        return [draft] if draft else [], [said], failed

    def _end(self, connection: Connection, mail: Mail, outcome: Outcome) -> bool:
        """Whether the message ended now; False if it had, in a commit whose success was not known."""
        mailbox = self._store.mailbox
        if outcome.error is None:
            return mailbox.done(connection, mail, outcome.handler or outcome.stopped_by)
        error = f"{type(outcome.error).__name__}: {outcome.error}"
        if outcome.retry_in is None:
            return mailbox.dead(connection, mail, outcome.handler, error)
        due_at = self._store.database.clock() + outcome.retry_in
        return mailbox.postpone(connection, mail, outcome.handler, error, due_at)

    def _fetch_later(self, mail: Mail, error: Exception) -> list[Note]:
        """The event could not be completed from its platform: later, or never."""
        text = f"{type(error).__name__}: {error}"
        with self._store.database.write() as connection:
            self._store.leases.check(connection, self._lease)
            if mail.failures + 1 >= _MAX_FETCHES:
                self._store.mailbox.dead(connection, mail, "", text)
            else:
                due_at = self._store.database.clock() + _FETCH.seconds(mail.failures)
                self._store.mailbox.postpone(connection, mail, "", text, due_at)
        return []

    def _extra(self, mail: Mail) -> dict[str, str]:
        return {"event": mail.key, "conversation": self._lease.lane}


def abandon(equipment: Equipment, run: Run) -> bool:
    """Whether a handler past its deadline was given up: its message is a dead letter, its user told, the
    conversation free."""
    store, lease = equipment.store, run.lease
    error = f"the handler {run.handler} did not end within {run.timeout:g} s"
    run.outlet.give_up()
    run.outlet.fail()
    text = equipment.bots[lease.conversation.bot].error_text
    draft = run.outlet.draft(Operation(conversation=lease.conversation, message=Text(text))) if text else None
    try:
        with store.database.write() as connection:
            store.leases.check(connection, lease)
            store.record(connection, lease, run.outlet.notes)
            store.mailbox.dead(connection, run.mail, run.handler, error)
            store.outbox.add(connection, [draft] if draft else [])
            store.leases.release(connection, lease, more=True)
    except LeaseLost:
        return False
    log.error("gave up a message: %s", error, extra={"event": run.mail.key, "conversation": lease.lane})
    equipment.observer.handled(lease.conversation.bot, run.timeout, "dead")
    equipment.wake(lease.lane, to_send=draft is not None)
    return True
