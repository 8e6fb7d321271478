"""A text that is no configuration: what is wrong, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frp_py.client.sources import ConfigFile
from frp_py.client.web.checking import Check, check, line_of

TOML = """serverPort = 7000
[transport]
protocol = "tcp"
tls.enable = true

[log]
level = "info"

[[proxies]]
name = "a"
type = "tcp"
localPort = 1

  [[proxies]]
  name = "b"
  type = "http"
  transport.useEncryption = true
  localPort = 2
  [proxies.plugin]
  type = "socks5"

[[visitors]]
name = "v"
"""
YAML = """serverPort: 7000
log:
  level: info
proxies:
- name: a
  localPort: 1
"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("serverPort", 1),
        ("serverport", 1),
        ("transport.protocol", 3),
        ("transport.tls.enable", 4),
        ("log.level", 7),
        ("proxies[0].name", 10),
        ("proxies[1].localPort", 18),
        ("proxies[1].transport.useEncryption", 17),
        ("proxies[1].plugin.type", 20),
        ("proxies[1]", 14),
        ("proxies[1].unset", 14),
        ("proxies[0].transport.useEncryption", 9),
        ("visitors[0].name", 23),
        ("proxies[2].name", None),
        ("nothing", None),
        ("name", None),  # which of them?
    ],
)
def test_where_a_key_is(key: str, line: int | None) -> None:
    assert line_of(TOML, key) == line
    assert line_of(TOML.replace("\n", "\r\n"), key) == line


@pytest.mark.parametrize(("key", "line"), [("serverPort", 1), ("log.level", None), ("proxies[0].localPort", None)])
def test_where_it_is_in_yaml(key: str, line: int | None) -> None:
    assert line_of(YAML, key) == line


@given(st.text(alphabet='ab.[]"= \n', max_size=60), st.from_regex(r"[ab]{1,2}(\[\d\])?(\.[ab](\[\d\])?){0,3}", fullmatch=True))
def test_it_is_a_line_of_the_text_or_none(text: str, key: str) -> None:
    line = line_of(text, key)
    assert line is None or 1 <= line <= len(text.splitlines())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("serverPort = 7000", Check(True)),
        ("", Check(True)),
        ("serverPort = \n", Check(False, "toml: line 1, column 14: toml: expected value", 1, 14)),
        (
            '\nlog.level = "x"',
            Check(
                False,
                "invalid log level, optional values are [trace debug info warn error]\n"
                'log.level must be one of trace, debug, info, warn, error, not "x"',
                2,
                None,
                "log.level",
            ),
        ),
        (
            '[[proxies]]\nname = "a"\ntype = "tcp"\n[[proxies]]\nname = "b"\ntype = "tcp"\nlocalPort = 99999',
            Check(
                False,
                "proxy b: localPort: localPort: port number 99999 must be in the range 0..65535\n"
                "proxies[1].localPort must be from 0 to 65535, not 99999",
                7,
                None,
                "proxies[1].localPort",
            ),
        ),
        ('proxies = [{ name = "a", type = "xtcp" }]', Check(False, 'proxy a: type = "xtcp" is not supported yet')),
        (
            'includes = ["/none/at/all/*.toml"]',
            Check(
                False, "stat /none/at/all: no such file or directory\nincludes[0] names no directory that exists", None, None, "includes[0]"
            ),
        ),
    ],
)
def test_what_is_told(text: str, expected: Check, tmp_path: Path) -> None:
    for file in (None, ConfigFile(str(tmp_path / "frpc.toml"))):
        assert check(text.encode(), file) == expected
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_the_file_tells_the_format(tmp_path: Path) -> None:
    data = json.dumps({"serverPort": 1}).encode()
    assert not check(data, ConfigFile("a.toml")).ok
    assert check(data, ConfigFile("a.json")).ok


def test_an_error_in_another_file_has_no_line_here(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("\n\nserverPort = ")
    found = check(f"includes = [{json.dumps(str(other))}]".encode(), ConfigFile(str(tmp_path / "frpc.toml")))
    assert (found.ok, found.line) == (False, None)
    assert str(other) in found.error


@given(st.binary(max_size=80))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    found = check(data, None)
    assert found.ok == (not found.error)
