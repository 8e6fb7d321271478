from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.net.web.operations import Operation
from frp_py.net.web.request import Request, decoded
from tests.net.web.helpers import basic, running_site


async def body(request: Request) -> dict[str, object]:
    first = await request.body(limit=1000)
    return {"size": len(first), "again": await request.body() == first}


OPERATIONS = [Operation("PUT", "/body", body, "")]


@settings(max_examples=100)
@given(st.text())
def test_decoding_undoes_encoding(text: str) -> None:
    assert decoded(quote(text, safe="")) == text


@pytest.mark.parametrize("text", ["%", "%1", "%zz", "%+1", "% 1", "%-1", "%_1", "%1_", "%ff", "%c3", "\xff", "%ed%a0%80", "%c0%80"])
def test_what_isnt_utf_8_escaped_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        decoded(text)


async def test_bodies() -> None:
    async with running_site(OPERATIONS) as site, site.user() as user:
        for size in (0, 1, 1000):
            assert (await user.ask("/body", basic(), method="PUT", body=b"x" * size)).json == {"size": size, "again": True}
        assert (await user.ask("/body", basic(), method="PUT")).json == {"size": 0, "again": True}
        chunked = {**basic(), "Transfer-Encoding": "chunked"}
        await user.send("/body", chunked, method="PUT")
        await user.stream.send_all(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert (await user.answer()).json == {"size": 5, "again": True}


async def test_a_body_that_is_too_large_is_refused_before_it_has_come() -> None:
    async with running_site(OPERATIONS) as site:
        async with site.user() as user:
            await user.send("/body", {**basic(), "Content-Length": "1001", "Expect": "100-continue"}, method="PUT")
            answer = await user.answer()
            assert (answer.status, answer.json["Code"]) == (413, 413)
        async with site.user() as user:
            await user.send("/body", {**basic(), "Transfer-Encoding": "chunked"}, method="PUT")
            await user.stream.send_all(b"3e9\r\n" + b"x" * 1001)
            assert (await user.answer()).status == 413
            await user.stream.send_all(b"\r\n0\r\n\r\n")
            assert (await user.ask("/body", basic(), method="PUT", body=b"x")).json["size"] == 1


async def test_a_body_that_is_no_body_breaks_the_connection_off() -> None:
    async with running_site(OPERATIONS) as site, site.user() as user:
        await user.send("/body", {**basic(), "Transfer-Encoding": "chunked"}, method="PUT")
        await user.stream.send_all(b"nonsense\r\n")
        assert (await user.answer()).status == 400
        assert await user.is_over()
