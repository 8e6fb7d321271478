import msgspec
import pytest

from frp_py.config.base import Bandwidth, file_key
from frp_py.config.client import ClientConfig
from frp_py.config.proxies import TcpProxy
from frp_py.config.server import ServerConfig


@pytest.mark.parametrize(
    ("text", "bytes_per_second"),
    [
        ("1MB", 1048576),
        ("1.5MB", 1572864),
        ("512KB", 524288),
        (" 2KB ", 2048),
        ("1e1KB", 10240),
        ("-1MB", -1048576),
        ("", 0),
        ("0.0001KB", 0),
    ],
)
def test_bandwidth(text: str, bytes_per_second: int) -> None:
    limit = Bandwidth(text)
    assert (limit.text, limit.bytes_per_second, bool(limit)) == (text.strip(), bytes_per_second, bytes_per_second > 0)
    assert limit == Bandwidth(text.strip())
    assert hash(limit) == hash(Bandwidth(text.strip()))
    assert limit != text
    assert repr(limit) == f"Bandwidth({text.strip()!r})"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1GB", "unit not support"),
        ("1B", "unit not support"),
        ("1mb", "unit not support"),
        ("100", "unit not support"),
        ("1 MB", 'strconv.ParseFloat: parsing "1 ": invalid syntax'),
        ("xMB", 'strconv.ParseFloat: parsing "x": invalid syntax'),
        ("1_0MB", 'strconv.ParseFloat: parsing "1_0": invalid syntax'),
        ("MB", 'strconv.ParseFloat: parsing "": invalid syntax'),
        ("infMB", 'strconv.ParseFloat: parsing "inf": invalid syntax'),
    ],
)
def test_bad_bandwidth(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        Bandwidth(text)
    assert str(caught.value) == reason


def test_names_of_keys() -> None:
    assert file_key("tcp_mux_keepalive_interval") == "tcpMuxKeepaliveInterval"
    assert file_key("vhost_https_port") == "vhostHTTPSPort"


def test_structs_are_frozen_and_complete_themselves() -> None:
    config = ServerConfig(bind_port=0, bind_addr="192.0.2.1")
    assert (config.bind_port, config.proxy_bind_addr) == (7000, "192.0.2.1")
    with pytest.raises(AttributeError):
        config.bind_port = 1  # type: ignore[misc]
    assert TcpProxy(name="a").type == "tcp"
    again = msgspec.structs.replace(ClientConfig(), server_port=1)
    assert (again.server_port, again.transport.heartbeat_interval) == (1, -1)
