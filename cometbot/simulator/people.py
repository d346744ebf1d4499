"""The acts of users beside writing: blocking others, going online and offline, receiving and reading messages."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, Literal

from cometbot.simulator.errors import Refusal
from cometbot.simulator.records import StoredMessage
from cometbot.simulator.world import World

Receipt = Literal["delivered", "read"]
_RECEIPT_TRIGGERS: Mapping[Receipt, str] = {"delivered": "message_delivery_receipt", "read": "message_read_receipt"}


def block(world: World, by: str, uid: str, *, blocked: bool = True) -> None:
    """Block a user, or end that, and report it. Raises ``ERR_CANNOT_BLOCK_SELF`` or ``ERR_UID_NOT_FOUND``."""
    user, other = world.directory.user(by), world.directory.user(uid)
    if other is user:
        raise Refusal("ERR_CANNOT_BLOCK_SELF", "Users cannot block themselves.")
    if (other.uid in user.blocked) == blocked:
        return
    if blocked:
        user.blocked[other.uid] = world.now()
    else:
        del user.blocked[other.uid]
    data = {"users": {other.uid: world.serializer.user(other.uid)}, "by": world.serializer.user(user.uid)}
    world.emit("user_blocked" if blocked else "user_unblocked", data)


def set_connected(world: World, uid: str, *, connected: bool, platform: str = "javascript") -> None:
    """Connect a user, or disconnect the user's last connection, and report the user's status."""
    user = world.directory.user(uid)
    status = "online" if connected else "offline"
    has_changed = (user.status == "offline") == connected
    user.status = "available" if connected else "offline"
    user.last_active_at = world.now()
    milliseconds = int(world.clock() * 1000)
    data = {
        "timestamp": milliseconds,
        "user": world.serializer.user(user.uid) | {"status": status},
        "status": status,
        "currentConnection": {
            "action": "connected" if connected else "disconnected",
            "platform": platform,
            "connectedAt": milliseconds,
        },
        "userPresenceChanged": has_changed,
    }
    world.emit("user_connection_status_changed", data)


def mark(world: World, uid: str, conversation: str, number: int, receipt: Receipt) -> None:
    """Mark the messages of a conversation up to ``number`` as delivered to ``uid``, or read; report the newest.

    A receipt is for what others wrote: nothing is reported if that was marked already.
    """
    marks = world.read_marks if receipt == "read" else world.delivered_marks
    earlier = marks.get((uid, conversation), 0)
    marks[uid, conversation] = max(earlier, number)
    numbers = world.message_store.numbers(conversation)
    new = numbers[bisect_right(numbers, earlier) : bisect_right(numbers, number)]
    messages = (world.message_store[number] for number in reversed(new))
    newest = next((message for message in messages if message.sender != uid and not message.is_action), None)
    if newest is not None:
        world.emit(_RECEIPT_TRIGGERS[receipt], _receipt_json(world, newest, uid, receipt))


def _receipt_json(world: World, message: StoredMessage, uid: str, receipt: Receipt) -> dict[str, Any]:
    return {
        "receiver": message.receiver if message.receiver_type == "group" else message.sender,
        "receiverType": message.receiver_type,
        "type": "receipts",
        "sender": uid,
        "messageSender": message.sender,
        "body": {
            "action": receipt,
            "messageId": message.id,
            "user": world.serializer.user(uid),
            "timestamp": world.now(),
        },
    }
