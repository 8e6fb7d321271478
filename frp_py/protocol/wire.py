"""What wire v1 and wire v2 have in common: either module is a `Wire`."""

from collections.abc import Callable
from typing import Protocol

from frp_py.protocol import wire_v1, wire_v2
from frp_py.protocol.messages import Message


class MessageReader(Protocol):
    """Takes a stream of frames in pieces of any size and gives the messages."""

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """The messages completed by `data`. Raises PeerError."""


class Wire(Protocol):
    """A version of the wire protocol."""

    def pack(self, message: Message) -> bytes:
        """The frame of a message. Raises FrpError when it is too long."""

    def take_message(self, buffer: bytes | bytearray | memoryview, start: int = 0) -> tuple[Message, int] | None:
        """The message whose frame begins at `start`, and the offset behind it. Raises PeerError."""

    @property
    def Reader(self) -> Callable[[], MessageReader]:  # noqa: N802 - a class of a module
        """Makes a reader of a stream of messages."""


WIRES: dict[str, Wire] = {"v1": wire_v1, "v2": wire_v2}
"""By their names in configuration and API."""
