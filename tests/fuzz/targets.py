"""What is fuzzed: each parser that sees bytes which others wrote, as a function that takes any bytes and raises when the parser is wrong.

A parser may refuse, with the one error it has for that, or answer; any other exception is a fault. Besides that each target says what
must always hold: that it makes no difference where the bytes are cut, that nothing beyond a bound is kept, that what was understood means
the same when it is written again, that another implementation finds the same.
"""

from __future__ import annotations

from tests.fuzz import configuration, datagrams, http, links, services, serving, sessions, ways_in
from tests.fuzz.corpus import FAULTS, write
from tests.fuzz.cuts import Target

TARGETS: dict[str, Target] = {
    "yamux": links.yamux,
    "wire_v1": links.wire("v1"),
    "wire_v2": links.wire("v2"),
    "json": links.json,
    "hello_v2": links.hello_v2,
    "aead": links.aead,
    "cipher": links.cipher,
    "snappy": links.decompression,
    "client_hello": ways_in.tls_client_hello,
    "first_bytes": ways_in.first_ten_bytes,
    "websocket_heads": ways_in.websocket_heads,
    "websocket_frames": ways_in.websocket_frames,
    "socks5": ways_in.socks,
    "proxy_protocol": ways_in.proxy_header,
    "packets_v1": datagrams.packets("v1"),
    "packets_v2": datagrams.packets("v2"),
    "stun": datagrams.stun_answers,
    "http_request": http.http_request,
    "http_response": http.http_response,
    "http_chunks": http.http_chunks,
    "http2_lengths": http.http2_lengths,
    "http_values": http.http_values,
    "http_connect": http.http_connect,
    "http1_serving": serving.http1_serving,
    "http2_serving": serving.http2_serving,
    "vhost_user": serving.vhost_user,
    "vhost_service": serving.vhost_service,
    "server_session": sessions.server_session,
    "client_session": sessions.client_session,
    "upstream": services.upstream,
    "health": services.health,
    "paths": services.paths,
    "config": configuration.config,
    "config_json": configuration.config_json,
    "config_yaml": configuration.config_yaml,
    "config_ini": configuration.config_ini,
    "template": configuration.template,
    "store": configuration.store,
    "definition": configuration.definition,
}


def run(name: str, data: bytes) -> None:
    """Feed a target; an input that shows a fault is kept, and what is raised says where."""
    try:
        TARGETS[name](data)
    except BaseException as error:
        error.add_note(f"input: {write(FAULTS / name, data)}")
        raise
