"""What comes in datagrams, or carries them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from frp_py.errors import PeerError
from frp_py.protocol import stun, wire_v1, wire_v2
from frp_py.protocol.datagrams import PacketReader
from frp_py.protocol.messages import Message, UDPPacket
from tests.fuzz.cuts import REFUSED, Pieces, Target, same_for_all_cuts


def packets(version: str) -> Target:
    known = {b'","r":{"IP":"1.2.3.4","Port":5,"Zone":""}}': "1.2.3.4"}

    def target(data: bytes) -> None:
        """The quick reader finds what the plain one finds."""

        def parse(parts: Pieces) -> object:
            others: list[Message] = []
            reader = PacketReader(version, dict(known), lambda user, tail: user.ip, others.append)
            packets = [packet for part in parts for packet in reader.receive_data(part)]
            assert len(reader._rest) < wire_v2.MAX_PAYLOAD + 9
            return packets, others

        def plainly(parts: Pieces) -> object:
            packets: list[tuple[Any, bytes]] = []
            others: list[Message] = []
            for message in (wire_v1 if version == "v1" else wire_v2).Reader().receive_data(b"".join(parts)):
                if not isinstance(message, UDPPacket):
                    others.append(message)
                elif message.user_address is not None:
                    packets.append((message.user_address.ip, message.content))
            return packets, others

        try:
            expected = plainly([data])
        except PeerError:
            expected = REFUSED
        assert same_for_all_cuts(parse, data) == expected

    return target


def stun_answers(data: bytes) -> None:
    """Datagrams at the client, as they come and behind the right header."""
    transaction = bytes(range(stun.TRANSACTION_SIZE))
    header = b"\x01\x01" + len(data).to_bytes(4, "big")[2:] + stun.binding_request(transaction)[4:]
    for datagram in (data, header + data):
        try:
            answer = stun.read_answer(datagram, transaction)
        except PeerError:
            continue
        if answer is None:
            assert datagram is data
            continue
        for name in ("mapped", "other"):
            try:
                address = getattr(answer, name)
            except PeerError:
                continue
            if address is not None:
                ip_address(address[0])
                assert 0 <= address[1] <= 65535
