"""The WebSocket protocol of the SimpleX Chat CLI, without any I/O: commands, frames, contents, tags.

It follows the CLI's bot API reference of release 7.0.2.
"""

from cometbot.channels.simplex.protocol.command import Command
from cometbot.channels.simplex.protocol.contents import ComposedMessage, UpdatedMessage
from cometbot.channels.simplex.protocol.frames import Frame, Record, SendCommand, decode_frame, encode_command
from cometbot.channels.simplex.protocol.refs import ChatRef

__all__ = [
    "ChatRef",
    "Command",
    "ComposedMessage",
    "Frame",
    "Record",
    "SendCommand",
    "UpdatedMessage",
    "decode_frame",
    "encode_command",
]
