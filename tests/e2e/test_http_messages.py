"""Hostile and odd messages on the HTTP port: what is answered, and what the local service gets to see."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.http import Recorder, User, Web, service, web, web_tunnel

HOST = b"Host: web.test\r\n"
SEEN = b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: web.test\r\nX-Forwarded-Proto: http\r\n\r\n"
"""What every request has at its end for the service."""


@dataclass
class Setting:
    web: Web
    recorder: Recorder


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    directory: Path = tmp_path_factory.mktemp("messages")
    recorder = Recorder()
    with programs.world(directory) as world:
        yield Setting(web_tunnel(world, web("web", service(world, recorder))), recorder)


REFUSED: dict[str, tuple[bytes, int]] = {
    "CL and TE": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "TE and CL": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "CL and TE in odd case": (b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 5\r\ntransfer-ENCODING: Chunked\r\n\r\n0\r\n\r\n", 400),
    "two CL": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    "two equal CL": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    "list in CL": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5, 5\r\n\r\nhello", 400),
    "sign in CL": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\nhello", 400),
    "negative CL": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -5\r\n\r\nhello", 400),
    "hexadecimal CL": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x5\r\n\r\nhello", 400),
    "empty CL": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: \r\n\r\n", 400),
    "huge CL": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "CL with underscore": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1_0\r\n\r\n", 400),
    "unknown coding": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "identity coding": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: identity\r\n\r\n", 400),
    "coding with VT": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "two codings": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400),
    "chunks in 1.0": (b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "blank before colon": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "tab before colon": (b"GET / HTTP/1.1\r\n" + HOST + b"X\t: y\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\n" + HOST + b"Nonsense\r\n\r\n", 400),
    "empty name": (b"GET / HTTP/1.1\r\n" + HOST + b": x\r\n\r\n", 400),
    "folded": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400),
    "folded by tab": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n\tb\r\n\r\n", 400),
    "folded first field": (b"GET / HTTP/1.1\r\n Host: web.test\r\n\r\n", 400),
    "bare LF after a field": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\nY: b\r\n\r\n", 400),
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: web.test\n\n", 400),
    "bare LF at the end": (b"GET / HTTP/1.1\r\nHost: web.test\r\n\n", 400),
    "bare CR in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rY: b\r\n\r\n", 400),
    "bare CR as line end": (b"GET / HTTP/1.1\rHost: web.test\r\r\n\r\n", 400),
    "NUL in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", 400),
    "NUL in a name": (b"GET / HTTP/1.1\r\n" + HOST + b"X\0: b\r\n\r\n", 400),
    "NUL in the target": (b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "escape in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"X: \x1b[2J\r\n\r\n", 400),
    "name beyond ASCII": (b"GET / HTTP/1.1\r\n" + HOST + b"X\xe4: b\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + b"Host: evil.test\r\n\r\n", 400),
    "one host twice": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\nX: y\r\n\r\n", 400),
    "nothing but the line": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "host with a path": (b"GET / HTTP/1.1\r\nHost: web.test/x\r\n\r\n", 400),
    "host with a user": (b"GET / HTTP/1.1\r\nHost: a@web.test\r\n\r\n", 400),
    "host list": (b"GET / HTTP/1.1\r\nHost: web.test, b\r\n\r\n", 400),
    "no version": (b"GET /\r\n" + HOST + b"\r\n", 400),
    "two blanks": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "blank in the target": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "blank at the end": (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
    "blank in front": (b" GET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "method with a colon": (b"GE:T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "long method": (b"G" * 100 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "relative target": (b"GET a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "asterisk": (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "fragment": (b"GET /#a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "broken escape in the path": (b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "other scheme": (b"GET ftp://web.test/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "absolute without host": (b"GET http:///x HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "CONNECT to a path": (b"CONNECT /x HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "version in lower case": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400),
    "other version": (b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/2 in a line": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\r\n\r\n", 400),
    "only empty lines": (b"\r\n\r\n\r\n\r\n", 400),
    "large head": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 70000 + b"\r\n\r\n", 431),
    "large head without end": (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 12000, 431),
    "many fields": (b"GET / HTTP/1.1\r\n" + HOST + b"a:\r\n" * 1000 + b"\r\n", 431),
    "long target": (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(setting: Setting, name: str) -> None:
    message, status = REFUSED[name]
    before = len(setting.recorder.requests)
    with setting.web.user() as user:
        answer = user.send(message).answer()
        assert answer.status == status
        assert answer.get("Connection") == "close"
        assert user.rest() == b""
    assert len(setting.recorder.requests) == before


BAD_BODIES: dict[str, bytes] = {
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "size with a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "blank before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "blank after the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "huge size": b"fffffffffffffffff\r\n",
    "LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "CR after the data": b"5\r\nhello\rX0\r\n\r\n",
    "more than the size": b"5\r\nhello!\r\n0\r\n\r\n",
    "less than the size": b"6\r\nhello\r\n0\r\n\r\n",
    "endless extension": b"5;" + b"x" * 5000,
    "CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "length in the trailer": b"0\r\nContent-Length: 3\r\n\r\n",
    "coding in the trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "folded trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "large trailer": b"0\r\n" + b"X: y\r\n" * 5000,
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_malformed_chunked_body(setting: Setting, name: str) -> None:
    before = len(setting.recorder.requests)
    with setting.web.user() as user:
        head = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        answer = user.send(head + BAD_BODIES[name] + b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n").answer()
        assert answer.status == 400
        assert answer.get("Connection") == "close"
        assert user.rest() == b""
    assert not any(b"/smuggled HTTP" in request.split(b"\r\n")[0] for request in setting.recorder.requests[before:])


ODD: dict[str, tuple[bytes, bytes]] = {
    "plain": (b"GET /a?b=c HTTP/1.1\r\n" + HOST + b"\r\n", b"GET /a?b=c HTTP/1.1\r\nHost: web.test\r\n" + SEEN),
    "an empty line first": (b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", b"GET / HTTP/1.1\r\nHost: web.test\r\n" + SEEN),
    "no blank after the colon": (b"GET / HTTP/1.1\r\nHost:web.test\r\nX:y\r\n\r\n", b"GET / HTTP/1.1\r\nHost: web.test\r\nX: y\r\n" + SEEN),
    "blanks around": (
        b"GET / HTTP/1.1\r\nHost:  web.test \r\nX: \t y z\t \r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: web.test\r\nX: y z\r\n" + SEEN,
    ),
    "empty value": (b"GET / HTTP/1.1\r\n" + HOST + b"X:\r\n\r\n", b"GET / HTTP/1.1\r\nHost: web.test\r\nX: \r\n" + SEEN),
    "bytes beyond ASCII": (
        b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"X: \xe4\r\n\r\n",
        b"GET /\xc3\xa4 HTTP/1.1\r\nHost: web.test\r\nX: \xe4\r\n" + SEEN,
    ),
    "own method": (b"M-SEARCH / HTTP/1.1\r\n" + HOST + b"\r\n", b"M-SEARCH / HTTP/1.1\r\nHost: web.test\r\n" + SEEN),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", b"OPTIONS * HTTP/1.1\r\nHost: web.test\r\n" + SEEN),
    "escaped path": (b"GET /%2e%2e/%00 HTTP/1.1\r\n" + HOST + b"\r\n", b"GET /%2e%2e/%00 HTTP/1.1\r\nHost: web.test\r\n" + SEEN),
    "dots": (b"GET /a/../b//c HTTP/1.1\r\n" + HOST + b"\r\n", b"GET /a/../b//c HTTP/1.1\r\nHost: web.test\r\n" + SEEN),
    "query with semicolon": (b"GET /?b=1&a=2;c=3 HTTP/1.1\r\n" + HOST + b"\r\n", b"GET /?b=1 HTTP/1.1\r\nHost: web.test\r\n" + SEEN),
    "query with a broken escape": (
        b"GET /?z=%zz&b=%20&a HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /?a=&b=+ HTTP/1.1\r\nHost: web.test\r\n" + SEEN,
    ),
    "host in capitals, with port": (
        b"GET / HTTP/1.1\r\nHost: WEB.Test.:81\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: WEB.Test.:81\r\n" + SEEN.replace(b"web.test", b"WEB.Test.:81"),
    ),
    "hop by hop": (
        b"GET / HTTP/1.1\r\n"
        + HOST
        + b"Connection: keep-alive, X-A\r\nX-A: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: web.test\r\nTe: trailers\r\n" + SEEN,
    ),
    "length declared hop by hop": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 5\r\n" + SEEN + b"hello",
    ),
    "host declared hop by hop": (
        b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Host, X-Forwarded-For\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: web.test\r\n" + SEEN,
    ),
    "forged forwarding": (
        b"GET / HTTP/1.1\r\n" + HOST + b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nForwarded: for=x\r\nX-Real-IP: 5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: web.test\r\nX-Real-IP: 5\r\n" + SEEN.replace(b"127.0.0.1", b"1.2.3.4, 127.0.0.1"),
    ),
    "body of a GET": (
        b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 5\r\n" + SEEN + b"hello",
    ),
    "empty body": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 0\r\n" + SEEN,
    ),
    "length with zeros": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0005\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 5\r\n" + SEEN + b"hello",
    ),
    "chunks with extensions and trailer": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: web.test\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n"
        + SEEN
        + b"5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    ),
    "absolute target": (
        b"GET http://web.test/x HTTP/1.1\r\nHost: other.test\r\nProxy-Connection: keep-alive\r\n\r\n",
        b"GET http://web.test/x HTTP/1.1\r\nHost: web.test\r\n" + SEEN,
    ),
    "upgrade to h2c": (
        b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: web.test\r\n" + SEEN,
    ),
    "no agent is invented": (
        b"GET / HTTP/1.1\r\n" + HOST + b"Accept: */*\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: web.test\r\nAccept: */*\r\n" + SEEN,
    ),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
def test_passed_on(setting: Setting, name: str, bytewise: bool) -> None:
    message, expected = ODD[name]
    with setting.web.user() as user:
        if bytewise:
            for at in range(len(message)):
                user.send(message[at : at + 1])
        else:
            user.send(message)
        answer = user.answer()
        assert answer.status == 200
        assert answer.body == expected
        # and the connection is in step
        assert user.send(b"GET /after HTTP/1.1\r\n" + HOST + b"\r\n").answer().body.startswith(b"GET /after HTTP/1.1\r\n")


def test_pipelined_requests_are_answered_in_order(setting: Setting) -> None:
    with setting.web.user() as user:
        for i in range(200):
            user.send(b"POST /%d HTTP/1.1\r\n" % i + HOST + b"Content-Length: 3\r\n\r\nabc")
        user.send(b"GET /missing HTTP/1.1\r\nHost: nowhere.test\r\n\r\nGET /last HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        for i in range(200):
            body = user.answer().body
            assert body.startswith(b"POST /%d HTTP" % i)
            assert body.endswith(b"\r\n\r\nabc")
        assert user.answer().status == 404
        last = user.answer()
        assert last.body.startswith(b"GET /last")
        assert last.get("Connection") == "close"
        assert user.rest() == b""


def test_pipelined_requests_for_what_is_not_there_are_bounded(setting: Setting) -> None:
    with setting.web.user() as user:
        user.sock.settimeout(1)
        sent = 0
        flood = b"GET / HTTP/1.1\r\nHost: nowhere.test\r\n\r\n" * 500
        with contextlib.suppress(TimeoutError):
            while sent < 64 << 20:
                sent += user.sock.send(flood)
        assert sent < 32 << 20  # what the kernel keeps, and no more
    assert setting.web.world.programs[0].figures.rss < 120


def test_http_1_0(setting: Setting) -> None:
    with setting.web.user() as user:
        answer = user.send(b"GET / HTTP/1.0\r\n" + HOST + b"\r\n").answer()
        assert answer.body == b"GET / HTTP/1.1\r\nHost: web.test\r\n" + SEEN
        assert answer.get("Connection") == "close"
        assert user.rest() == b""
    with setting.web.user() as user:
        for _ in range(2):
            answer = user.send(b"GET / HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n\r\n").answer()
            assert answer.get("Connection") == "keep-alive"
    with setting.web.user() as user:
        assert user.send(b"GET / HTTP/1.0\r\n\r\n").answer().status == 404  # without a host it is nobody's


def test_half_closed_after_the_request(setting: Setting) -> None:
    with setting.web.user() as user:
        user.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n").sock.shutdown(1)
        assert user.answer().status == 200
        assert user.rest() == b""


def test_a_request_that_is_cut_off_is_not_passed_on_as_a_whole(setting: Setting) -> None:
    before = len(setting.recorder.requests)
    for message in (b"GET / HT", b"GET / HTTP/1.1\r\nHost: web.test\r\n"):
        with setting.web.user() as user:
            user.send(message).sock.shutdown(1)
            assert user.rest() == b""
    with setting.web.user() as user:
        user.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\nhello").sock.shutdown(1)
        with pytest.raises(ConnectionResetError):
            user.rest()
    assert len(setting.recorder.requests) == before


def _fuzz(setting: Setting, seconds: float) -> None:
    seed = int.from_bytes(os.urandom(4))
    rng = random.Random(seed)
    corpus = [message for message, _ in REFUSED.values()] + [message for message, _ in ODD.values()]
    corpus += [b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + body for body in BAD_BODIES.values()]
    corpus.append(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9) + b"\0\0\0\4\0\0\0\0\0" * 3)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message = bytearray(b"".join(rng.choices(corpus, k=rng.randint(1, 3))))
        for _ in range(rng.randint(0, 6)):
            at = rng.randint(0, len(message))
            piece = rng.choice(
                [b"", b"\r\n", b"\n", b"\0", rng.randbytes(3), bytes(message[at : at + 30]), b"0\r\n\r\n", b"Content-Length: 4\r\n"]
            )
            message[at : at + rng.randint(0, 4)] = piece
        try:
            with User(setting.web.port, 0.02) as user:
                user.send(bytes(message))
                if rng.random() < 0.5:
                    user.sock.shutdown(1)
                while user.sock.recv(65536):
                    pass
        except OSError:
            pass
    with setting.web.user() as user:
        assert user.send(b"GET /alive HTTP/1.1\r\n" + HOST + b"\r\n").answer().status == 200, seed
    for program in setting.web.world.programs:
        assert program.runs, seed
        program.check_output()


def test_fuzz(setting: Setting) -> None:
    _fuzz(setting, 3)


@pytest.mark.slow
def test_fuzz_for_long(setting: Setting) -> None:
    _fuzz(setting, 30)
