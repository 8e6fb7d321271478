"""What comes over links: streams, messages, records, compressed bytes."""

from __future__ import annotations

import zlib

import msgspec

from frp_py.errors import PeerError
from frp_py.protocol import go_json, snappy, wire_v1, wire_v2
from frp_py.protocol.aead import MAX_PLAIN, NONCE_SIZE, Opener, Sealer
from frp_py.protocol.cipher import Decryptor, Encryptor
from frp_py.protocol.messages import OF_TYPE_ID, Message
from frp_py.protocol.yamux import INITIAL_WINDOW, OWED_LIMIT, Budget, Buffers, Session, Stream
from tests.fuzz.cuts import REFUSED, Pieces, Target, same_for_all_cuts


class _Written(Stream):
    """Writes down what it hears. Nothing is credited: what is credited when would depend on the cuts."""

    __slots__ = ("data", "ends")

    def __init__(self, session: Session, stream_id: int) -> None:
        super().__init__(session, stream_id)
        self.data = bytearray()
        self.ends: list[str] = []

    def received(self, data: memoryview) -> None:
        assert data
        assert not self.ends, "data behind the end"
        self.data += data
        assert len(self.data) <= INITIAL_WINDOW

    def finished(self) -> None:
        self.ends.append("finished")

    def broken(self, reason: str) -> None:
        assert "broken" not in self.ends
        self.ends.append("broken")


def yamux(data: bytes) -> None:
    """A peer who opens, sends, finishes and resets as it likes, on streams of its own and on three of ours."""

    def parse(parts: Pieces) -> object:
        budget, seen = Budget(), []

        def make(session: Session, stream_id: int) -> _Written | None:
            stream = _Written(session, stream_id)
            seen.append(stream)
            return stream if len(seen) % 5 else None

        session = Session(client=True, new_stream=make, buffers=Buffers(), budget=budget, max_streams=40)
        ours = [session.open(_Written) for _ in range(3)]
        ours[0].send(b"hello")
        ours[1].finish()
        refused = False
        try:
            for part in parts:
                session.receive_data(memoryview(part))
                assert len(session._head) < 12
        except PeerError:
            refused = True
        assert len(session.extra) <= OWED_LIMIT + 12
        assert len(session.streams) <= 43
        assert session.unacknowledged.keys() <= session.streams.keys()
        said = bytearray()
        while (out := session.data_to_send()) is not None:
            said += out
            session.sent(len(out))
        session.drained()
        streams = [stream for stream in (*ours, *seen) if isinstance(stream, _Written)]
        heard = [(stream.id, bytes(stream.data), tuple(stream.ends), stream.send_window) for stream in streams]
        left = [*session.streams.values()]
        session.broken("the end")
        assert all(stream.ends[-1:] == ["broken"] for stream in streams if stream in left), "somebody was not told"
        assert all(stream.state & Stream.GONE for stream in streams if stream.ends)
        assert budget.left == Budget().left
        assert not session.streams
        return refused, heard, bytes(said)

    same_for_all_cuts(parse, data)


def wire(version: str) -> Target:
    limit = (wire_v1.MAX_BODY if version == "v1" else wire_v2.MAX_PAYLOAD) + 9

    def target(data: bytes) -> None:
        def parse(parts: Pieces) -> object:
            reader = (wire_v1 if version == "v1" else wire_v2).Reader()
            found: list[Message] = []
            for part in parts:
                found += reader.receive_data(part)
                assert len(reader.unread()) < limit
            return found, reader.unread()

        outcome = same_for_all_cuts(parse, data)
        if outcome is not REFUSED:
            for message in outcome[0]:  # type: ignore[index]
                _same_again(message)

    return target


def _same_again(message: msgspec.Struct) -> None:
    """What was understood can be said, and is understood the same then."""
    assert go_json.decode(type(message), go_json.encode(message)) == message


_STRUCTS: list[type[msgspec.Struct]] = [*OF_TYPE_ID.values(), wire_v2.ClientHello, wire_v2.ServerHello]


def json(data: bytes) -> None:
    """The first byte chooses the message. The quick reader takes nothing that the lenient one reads otherwise."""
    if not data:
        return
    cls, text = _STRUCTS[data[0] % len(_STRUCTS)], data[1:]
    try:
        message = go_json.decode(cls, text)
    except PeerError:
        return
    assert message == go_json._decode_leniently(cls, text)
    _same_again(message)


def hello_v2(data: bytes) -> None:
    """A client's hello at the server, and a server's at the client."""
    ours = wire_v2.offer("tcp", tls=True, tcp_mux=True, client_random=bytes(range(32)))
    try:
        agreed = wire_v2.accept(ours, data)
    except PeerError:
        pass
    else:
        assert agreed.algorithm in NONCE_SIZE
    try:
        payload, agreed_or_error = wire_v2.answer(data, bytes(32))
    except PeerError:
        return
    assert len(payload) <= wire_v2.MAX_PAYLOAD
    if isinstance(agreed_or_error, wire_v2.Agreed):
        assert wire_v2.accept(data, payload) == agreed_or_error


_KEY = bytes(range(32))


def aead(data: bytes) -> None:
    """Records as they come, and records that were sealed properly and then changed at one place."""
    for algorithm, size in NONCE_SIZE.items():

        def parse(parts: Pieces, algorithm: str = algorithm) -> object:
            opener = Opener(algorithm, _KEY)
            plain = b"".join(opener.update(part) for part in parts)
            assert len(opener._buffer) < MAX_PLAIN + 64
            return plain, opener.at_boundary

        assert same_for_all_cuts(parse, data) in (REFUSED, (b"", True), (b"", False)), "somebody has guessed a tag"
        sealer = Sealer(algorithm, _KEY, bytes(size))
        sealed = sealer.update(data) + sealer.update(data[:1])
        if sealed:
            assert same_for_all_cuts(parse, sealed) == (data + data[:1], True)
            changed = bytearray(sealed)
            changed[zlib.crc32(data) % len(sealed)] ^= 1 + zlib.adler32(data) % 255
            outcome = same_for_all_cuts(parse, bytes(changed))
            assert outcome is REFUSED or not outcome[1] or outcome[0] == b"", "a change was not noticed"  # type: ignore[index]


def cipher(data: bytes) -> None:
    """Nothing is authenticated there; the stream must only stay in step."""

    def parse(parts: Pieces) -> object:
        decryptor, encryptor = Decryptor(_KEY[:16]), Encryptor(_KEY[:16], bytes(16))
        plain = [decryptor.update(part) for part in parts]
        again = Decryptor(_KEY[:16])
        assert b"".join(again.update(encryptor.update(piece)) for piece in plain) == b"".join(plain)
        return b"".join(plain)

    same_for_all_cuts(parse, data)


def decompression(data: bytes) -> None:
    """The first byte chooses whether the identifier is there already. Output stays within what the format can hold."""

    def parse(parts: Pieces) -> object:
        decompressor = snappy.Decompressor()
        plain = b"".join(decompressor.update(part) for part in parts)
        assert len(decompressor._buffer) <= snappy.MAX_CHUNK + 4
        return plain, bytes(decompressor._buffer), decompressor._skip

    wire = (snappy.STREAM_IDENTIFIER if data[:1] > b"\x7f" else b"") + data[1:]
    outcome = same_for_all_cuts(parse, wire)
    assert outcome is REFUSED or len(outcome[0]) <= 32 * len(wire) + 64  # type: ignore[index]
