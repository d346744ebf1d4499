"""One conversation being worked through: its outbox first, then its mailbox, message by message."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from sqlalchemy.engine import Connection

from cometbot.bot import Bot
from cometbot.channels.base import Channel, Incoming
from cometbot.context import StateChange
from cometbot.delivery.causes import describe
from cometbot.delivery.chains import Chains
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
from cometbot.dispatch import Outcome, Raised, dispatch
from cometbot.errors import ChannelError, LeaseLost, StoreBusy
from cometbot.events import Event
from cometbot.messages import Operation, Text

log = logging.getLogger(__name__)

MAX_MESSAGES = 20
MAX_SECONDS = 2.0
"""After so many messages, or so long, a lane gives way to others."""

Step: TypeAlias = "Callable[[], Step | None]"
"""What a lane does between two commits, and the second of these; returns what comes next, None once the lease is
released."""

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
    """What all lanes of a process work with. ``wake(lane, at, to_send=…)``: see ``crew.Crew.wake``; ``lets_out``: see
    ``engine.Engine``."""

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
    lets_out: Raised = ()

    def persist(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """What ``work`` returns, done in one transaction.

        Where the database does not take it, it is done again until it does: a handler that has run must not run again
        because the database was away. ``work`` must bear being repeated, and checks that the lease is still held. Only
        a process that stops waits no longer than its leases hold.
        """
        return self._insist(lambda: self.store.database.together(work, durable=durable))

    def single(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """As :meth:`persist`, for work that is one statement."""
        return self._insist(lambda: self.store.database.single(work, durable=durable))

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
    those who send, or those who handle. What goes wrong unforeseen is logged, and the conversation goes on a little
    later; only what ``equipment.lets_out`` names is raised.
    """
    if not equipment.roles.serve(lane):
        return
    try:
        with equipment.process.lease_token() as token:
            _work_under(equipment, lane, token)
    except StoreBusy as error:
        log.warning("could not work on a conversation now: %s", error, extra={"conversation": lane})


def _work_under(equipment: Equipment, lane: str, token: str) -> None:
    claimed = _claim(equipment, lane, token)
    if claimed is None:
        return
    lease, mail = claimed
    if lease.recovered:
        log.warning("took over a conversation whose worker had died", extra={"conversation": lane})
        equipment.observer.recovered(lease.conversation.bot)
    try:
        Lane(equipment, lease).run(mail)
    except LeaseLost:
        if equipment.running.is_given_up(lease):
            log.info("a handler ended whose message had been given up", extra={"conversation": lane})
        else:
            log.warning("lost a conversation to another worker", extra={"conversation": lane})
    except StoreBusy as error:
        log.warning("gave a conversation back for a moment: %s", error, extra={"conversation": lane})
        _give_back_later(equipment, lease)
    except equipment.lets_out:
        raise
    except BaseException:
        log.exception("a lane failed in an unforeseen way and is tried again", extra={"conversation": lane})
        _give_back_later(equipment, lease)
    finally:
        equipment.running.absolve(lease)


def _claim(equipment: Equipment, lane: str, token: str) -> tuple[Lease, Mail | None] | None:
    """The lease, if there is something that this process can do: it sends here, or nothing waits to be sent; and the
    first message, if that could be begun at once."""
    roles, store, process = equipment.roles, equipment.store, equipment.process
    does_all = roles.can(lane, to_send=True) and roles.can(lane, to_send=False)
    chains = store.chains
    if chains is not None and does_all:
        quick = store.database.single(
            # The wait for a connection may have lasted until the process stops.
            lambda c: None if equipment.is_stopping() else chains.claim(c, lane, process.token, token),
            durable=False,
        )
        if quick is not None:
            return quick

    def claim(connection: Connection) -> tuple[Lease, Mail | None] | None:
        if equipment.is_stopping():
            return None
        if not does_all:
            has_replies = store.outbox.next(connection, lane) is not None
            if not roles.can(lane, to_send=has_replies):
                return None
        lease = store.leases.claim(connection, lane, process.token, token)
        if lease is None:
            return None
        return lease, store.mailbox.take(connection, lane) if roles.can(lane, to_send=False) else None

    return store.database.together(claim, durable=False)


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
        self._done, self._began = 0, time.monotonic()

    def run(self, mail: Mail | None) -> None:
        """Work until nothing is left to be done now, or it is another conversation's turn; on ``mail`` first, which
        has begun."""
        step = self._next([]) if mail is None else self._handling(mail)
        while step is not None:
            step = step()

    def _is_tired(self) -> bool:
        is_long = self._done >= MAX_MESSAGES or time.monotonic() - self._began > MAX_SECONDS
        return is_long or self._equipment.is_stopping()

    def _next(self, notes: list[Note]) -> Step | None:
        """The next thing to do, with what came before noted."""
        self._equipment.running.absolve(self._lease)
        chains = self._store.chains
        if chains is not None and [note.is_plain for note in notes] == [True]:
            return self._go_on(chains, notes[0])
        return self._following(self._equipment.persist(lambda connection: self._look(connection, notes), durable=False))

    def _go_on(self, chains: Chains, note: Note | None, mail: Mail | None = None, handler: str = "") -> Step | None:
        """The next thing to do, with ``mail`` ended well or ``note`` taken, in one statement."""
        begins = not self._is_tired() and self._can(to_send=False)
        turn = self._equipment.single(
            lambda connection: chains.go_on(
                connection, self._lease, mail=mail, handler=handler, note=note, begins=begins
            ),
            durable=mail is not None,
        )
        if turn.mail is not None:
            return self._handling(turn.mail)
        return None if turn.is_released else self._next([])

    def _following(self, step: Step | None) -> Step | None:
        """``step``, with the conversation woken that was given back in the same commit."""
        wake, self._wake = self._wake, None
        if wake is not None and not (self._equipment.is_stopping() and self._can(to_send=wake.to_send)):
            self._equipment.wake(self._lease.lane, at=wake.at or None, to_send=wake.to_send)
        return step

    def _can(self, *, to_send: bool) -> bool:
        return self._equipment.roles.can(self._lease.lane, to_send=to_send)

    def _look(self, connection: Connection, notes: list[Note]) -> Step | None:
        """The next thing to do, with ``notes`` taken. The check locks the conversation's row: what was announced in it
        is seen afterwards, what is not yet waits until this transaction has ended."""
        self._store.leases.check(connection, self._lease)
        self._store.record(connection, self._lease, notes)
        return self._choose(connection)

    def _choose(self, connection: Connection) -> Step | None:
        """The next thing to do, under a lease that was checked in the same transaction."""
        is_tired = self._is_tired()
        if not is_tired and self._can(to_send=False):
            begun = self._store.mailbox.take(connection, self._lease.lane)
            if begun is not None:
                return self._handling(begun)
        self._store.leases.clear_mail(connection, self._lease)
        reply = self._store.outbox.next(connection, self._lease.lane)
        mail = self._store.mailbox.head(connection, self._lease.lane) if reply is None else None
        if is_tired and (reply or mail):
            return self._release(connection, 0.0, to_send=reply is not None)
        if reply is not None:
            return self._next_reply(connection, reply)
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
        self._done += 1
        return self._sending([attempt])

    def _sending(self, attempts: list[Attempt]) -> Step:
        return lambda: self._next(self._equipment.sender.send_all(self._lease, attempts))

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
            return lambda: self._next([])
        if mail.crashes and not self._equipment.running.suspect(self._lease):
            return self._release(connection, self._store.database.clock() + _SUSPECTS_TURN)
        self._store.mailbox.start(connection, mail)
        return self._handling(mail)

    def _handling(self, mail: Mail) -> Step:
        return lambda: self._handle(mail)

    def _handle(self, mail: Mail) -> Step | None:
        self._done += 1
        began = time.monotonic()
        incoming = Incoming(self._conversation, mail.key, mail.body, mail.sender, mail.received_at)
        outlet = LaneOutlet(self._equipment, self._lease, mail)
        if not mail.body:  # Erased since its last run: its conversation is gone.
            return self._finish(mail, outlet, Outcome(), began)
        try:
            event = self._channel.parse(incoming)
        except (ChannelError, StoreBusy) as error:
            return self._fetch_later(mail, error)
        except self._equipment.lets_out:
            raise
        except BaseException as error:
            log.error("gave up a message that does not parse", exc_info=error, extra=self._extra(mail))
            return self._finish(mail, outlet, Outcome(error=error), began)
        return self._finish(mail, outlet, self._dispatch(event, outlet, mail), began)

    def _dispatch(self, event: Event, outlet: LaneOutlet, mail: Mail) -> Outcome:
        is_bot = self._channel.is_bot(event.sender.uid)
        self._show_work(True)
        try:
            outcome = dispatch(
                self._bot,
                event,
                outlet,
                failures=mail.failures,
                sender_is_bot=is_bot,
                lets_out=self._equipment.lets_out,
            )
        finally:
            self._equipment.running.end(self._lease)
            self._show_work(False)
        if outcome.error is not None:
            level = logging.ERROR if outcome.retry_in is None else logging.WARNING
            text = "%s raised" if outcome.retry_in is None else "%s raised and is tried again"
            name = f"the handler {outcome.handler}" if outcome.handler else "a matcher or middleware"
            log.log(level, text, name, exc_info=outcome.error, extra=self._extra(mail))
        return outcome

    def _show_work(self, on: bool) -> None:
        try:
            self._channel.working(self._conversation, on)
        except self._equipment.lets_out:
            raise
        except BaseException:
            log.debug("could not show that a bot is at work", exc_info=True, extra={"conversation": self._lease.lane})

    def _finish(self, mail: Mail, outlet: LaneOutlet, outcome: Outcome, began: float) -> Step | None:
        """One durable commit: the answers, the changed state, and the end of the message. Then the answers are sent;
        where there are none, the next thing to do was chosen in that commit."""
        drafts, operations, outcome = self._draft(outlet, outcome)
        ended = "done" if outcome.handler else "stopped" if outcome.stopped_by else "unhandled"
        if outcome.error is not None:
            ended = "failed" if outcome.retry_in is None else "retried"

        step = self._store_end(mail, outlet, outcome, drafts, operations)
        self._equipment.observer.handled(self._conversation.bot, time.monotonic() - began, ended)
        if ended == "failed" and outcome.error is not None:
            self._equipment.observer.failed(self._conversation.bot, mail.key, outcome.error)
        return step

    def _store_end(
        self, mail: Mail, outlet: LaneOutlet, outcome: Outcome, drafts: list[Draft], operations: list[Operation]
    ) -> Step | None:
        chains, handler = self._store.chains, outcome.handler or outcome.stopped_by
        is_plain = outcome.error is None and not outcome.changes and not mail.crashes and outlet.is_untouched
        if chains is not None and is_plain:
            if not operations:
                return self._go_on(chains, None, mail, handler)
            if len(drafts) == len(operations) == len(drafts[0].parts) == 1 and drafts[0].lane == self._lease.lane:
                reply = self._equipment.single(
                    lambda connection: chains.say(connection, self._lease, mail, handler, drafts[0])
                )
                if reply is not None:
                    return self._sending([Attempt(reply)])
        return self._store_end_at_length(mail, outlet, outcome, drafts, operations)

    def _store_end_at_length(
        self, mail: Mail, outlet: LaneOutlet, outcome: Outcome, drafts: list[Draft], operations: list[Operation]
    ) -> Step | None:
        chosen: list[Step | None] = []
        cause = describe(outcome.error) if outcome.error is not None else ""

        def end(connection: Connection, sends: bool) -> None:
            chosen.clear()
            if self._end(connection, mail, outcome, cause):
                self._store.state.apply(connection, self._lasting(connection, outcome.changes))
            # A message that killed a process is over before the next such one may run.
            if not sends and not mail.crashes:
                chosen.append(self._choose(connection))

        attempts = outlet.commit(drafts, operations, end)
        if attempts:
            return self._sending(attempts)
        return self._following(chosen[0]) if chosen else self._next([])

    def _lasting(self, connection: Connection, changes: Sequence[StateChange]) -> Sequence[StateChange]:
        return self._channel.lasting(connection, changes) if changes else ()

    def _draft(self, outlet: LaneOutlet, outcome: Outcome) -> tuple[list[Draft], list[Operation], Outcome]:
        """The answers, rendered. One that its platform would never take makes the message fail instead."""
        operations = list(outcome.operations)
        try:
            drafts = [draft for operation in operations if (draft := outlet.draft(operation)) is not None]
            return drafts, operations, outcome
        except self._equipment.lets_out:
            raise
        except BaseException as error:
            extra = {"conversation": self._lease.lane}
            log.error("an answer cannot be said: %s", describe(error), exc_info=error, extra=extra)
            failed = Outcome(handler=outcome.handler, error=error)
        outlet.fail()
        drafts, operations = _apology(self._equipment, self._lease, outlet)
        return drafts, operations, failed

    def _end(self, connection: Connection, mail: Mail, outcome: Outcome, cause: str) -> bool:
        """Whether the message ended now; False if it had, in a commit whose success was not known."""
        mailbox = self._store.mailbox
        if outcome.error is None:
            return mailbox.done(connection, mail, outcome.handler or outcome.stopped_by)
        if outcome.retry_in is None:
            return mailbox.dead(connection, mail, outcome.handler, cause)
        due_at = self._store.database.clock() + outcome.retry_in
        return mailbox.postpone(connection, mail, outcome.handler, cause, due_at)

    def _fetch_later(self, mail: Mail, error: Exception) -> Step | None:
        """The event could not be completed from its platform: later, or never."""
        text = describe(error)

        def end(connection: Connection) -> None:
            self._store.leases.check(connection, self._lease)
            if mail.failures + 1 >= _MAX_FETCHES:
                self._store.mailbox.dead(connection, mail, "", text)
            else:
                due_at = self._store.database.clock() + _FETCH.seconds(mail.failures)
                self._store.mailbox.postpone(connection, mail, "", text, due_at)

        self._equipment.persist(end)
        return self._next([])

    def _extra(self, mail: Mail) -> dict[str, str]:
        return {"event": mail.key, "conversation": self._lease.lane}


def abandon(equipment: Equipment, run: Run) -> bool:
    """Whether a handler past its deadline was given up: its message is a dead letter, its user told, the
    conversation free."""
    store, lease = equipment.store, run.lease
    equipment.running.give_up(lease)
    run.outlet.give_up()
    run.outlet.fail()
    drafts, _ = _apology(equipment, lease, run.outlet)
    try:
        with store.database.write() as connection:
            store.leases.check(connection, lease)
            if not store.mailbox.dead(connection, run.mail, run.handler, run.overrun):
                # It ended after all, just now, and its lane goes on.
                return False
            store.record(connection, lease, run.outlet.notes)
            store.outbox.add(connection, drafts)
            store.leases.release(connection, lease, more=True)
    except LeaseLost:
        return False
    log.error("gave up a message: %s", run.overrun, extra={"event": run.mail.key, "conversation": lease.lane})
    equipment.observer.handled(lease.conversation.bot, run.timeout, "dead")
    equipment.wake(lease.lane, to_send=bool(drafts))
    return True


def _apology(equipment: Equipment, lease: Lease, outlet: LaneOutlet) -> tuple[list[Draft], list[Operation]]:
    """The bot's error text, rendered; nothing where it has none, and where its channel cannot say even that."""
    text = equipment.bots[lease.conversation.bot].error_text
    if not text:
        return [], []
    said = Operation(conversation=lease.conversation, message=Text(text))
    try:
        draft = outlet.draft(said)
    except equipment.lets_out:
        raise
    except BaseException:
        log.exception("the text for errors cannot be said", extra={"conversation": lease.lane})
        return [], []
    return ([draft], [said]) if draft else ([], [])
