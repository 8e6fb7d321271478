import pytest

from frp_py.protocol import wire_v1, wire_v2
from frp_py.protocol.messages import Ping, StartWorkConn
from frp_py.protocol.wire import WIRES


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_every_version_packs_and_reads(name: str) -> None:
    wire = WIRES[name]
    sent = [StartWorkConn("ssh", src_port=1), Ping()]
    stream = b"".join(map(wire.pack, sent))
    assert wire.take_message(stream) == (sent[0], len(wire.pack(sent[0])))
    assert wire.Reader().receive_data(stream) == sent


def test_the_versions_are_told_apart_by_name() -> None:
    assert set(WIRES) == {"v1", "v2"}
    assert WIRES["v1"].pack(Ping()) == wire_v1.pack(Ping()) != wire_v2.pack(Ping()) == WIRES["v2"].pack(Ping())
