"""Flags are read as the frp programs read them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frp_py.cli.flags import (
    BANDWIDTH,
    BOOL,
    BOOL_WITH_VALUE,
    DURATION,
    INT,
    LIST,
    MAP,
    PORTS,
    STRING,
    Duration,
    Flag,
    UsageError,
    duration,
    first_word,
    integer,
    parse,
    tree,
    usages,
)

FLAGS = (
    Flag("bind_port", INT, 7000, "a port", short="p", key="bindPort"),
    Flag("token", STRING, "", "a secret", short="t", key="auth.token"),
    Flag("tls_only", BOOL, False, "a switch", short="o", key="transport.tls.force"),
    Flag("strict_config", BOOL, True, "another", short="s", key="transport.strict"),
    Flag("tls_mode", BOOL_WITH_VALUE, False, "a switch with a value"),
    Flag("allow-unsafe", LIST, [], "a list", key="unsafe"),
    Flag("metadatas", MAP, {}, "a map", key="metadatas"),
    Flag("allow_ports", PORTS, [], "ports", key="allowPorts"),
    Flag("bandwidth_limit", BANDWIDTH, "", "a rate", key="transport.bandwidthLimit"),
)


def value(name: str, *args: str) -> Any:
    return parse(FLAGS, args)[name]


@pytest.mark.parametrize(
    "args",
    [
        ("-p", "7001"),
        ("-p7001",),
        ("-p=7001",),
        ("--bind_port", "7001"),
        ("--bind-port=7001",),
        ("--bind-port", "0x1b59"),
        ("-op7001",),
        ("-p", "0b1101101011001"),
        ("-p", "0o15531"),
        ("-p", "015531"),
        ("-p", "+7_001"),
        ("-p", "1", "-p", "7001"),
    ],
)
def test_ways_to_say_a_number(args: tuple[str, ...]) -> None:
    assert value("bind-port", *args) == 7001


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), True),
        (("--strict_config",), True),
        (("--strict-config=false",), False),
        (("--strict_config=F",), False),
        (("-s=0",), False),
        (("-so=0",), True),
        (("--strict_config=0", "--strict_config=T"), True),
    ],
)
def test_booleans(args: tuple[str, ...], expected: bool) -> None:
    assert value("strict-config", *args) is expected


def test_a_boolean_takes_no_following_word() -> None:
    values = parse(FLAGS, ["--strict_config", "false", "x"])
    assert (values["strict-config"], values.words) == (True, ["false", "x"])


@pytest.mark.parametrize(
    ("args", "expected", "words"),
    [
        (["--tls_mode", "true", "x"], True, ["x"]),
        (["--tls_mode", "false"], False, []),
        (["--tls-mode=true"], True, []),
        (["--tls_mode", "x"], True, ["x"]),
        (["--tls_mode"], True, []),
    ],
)
def test_a_boolean_whose_value_may_follow(args: list[str], expected: bool, words: list[str]) -> None:
    values = parse(FLAGS, args)
    assert (values["tls-mode"], values.words) == (expected, words)
    assert first_word(FLAGS, args) == (args.index("x") if words else None)


def test_lists_grow_and_may_be_quoted() -> None:
    assert value("allow-unsafe", "--allow-unsafe", "a,b", "--allow_unsafe=c", "--allow-unsafe", '"d,e",f', "--allow-unsafe=") == [
        "a",
        "b",
        "c",
        "d,e",
        "f",
    ]
    assert value("allow-unsafe") == []


def test_maps_merge() -> None:
    assert value("metadatas", "--metadatas", "a=1,b=2", "--metadatas", "b=3,c=x=y") == {"a": "1", "b": "3", "c": "x=y"}
    assert value("metadatas", "--metadatas", "a=1,2") == {"a": "1,2"}
    assert value("metadatas") == {}


def test_ports() -> None:
    assert value("allow-ports", "--allow_ports", "1", "--allow_ports", "1000-2000, 3000") == [
        {"start": 1000, "end": 2000},
        {"single": 3000},
    ]


def test_words_and_flags_in_any_order() -> None:
    values = parse(FLAGS, ["a", "-t", "x", "b", "-", "-o", "--", "-p", "c"])
    assert values.words == ["a", "b", "-", "-p", "c"]
    assert (values["token"], values["tls-only"], values["bind-port"]) == ("x", True, 7000)
    assert values.given == {"token", "tls-only"}


def test_a_value_may_look_like_a_flag_or_be_empty() -> None:
    assert value("token", "-t", "--x") == "--x"
    assert value("token", "-t", "") == ""
    assert value("token", "--token=a=b") == "a=b"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["--Token", "x"], "unknown flag: --Token"),
        (["--tok", "x"], "unknown flag: --tok"),
        (["--no_pe=1"], "unknown flag: --no_pe"),
        (["-ox"], "unknown shorthand flag: 'x' in -x"),
        (["-xyz"], "unknown shorthand flag: 'x' in -xyz"),
        (["--token"], "flag needs an argument: --token"),
        (["-p"], "flag needs an argument: 'p' in -p"),
        (["--=x"], "bad flag syntax: --=x"),
        (["---x"], "bad flag syntax: ---x"),
        (["-p", "abc"], 'invalid argument "abc" for "-p, --bind-port" flag: strconv.ParseInt: parsing "abc": invalid syntax'),
        (["-p", " 1"], 'invalid argument " 1" for "-p, --bind-port" flag: strconv.ParseInt: parsing " 1": invalid syntax'),
        (["-p", ""], 'invalid argument "" for "-p, --bind-port" flag: strconv.ParseInt: parsing "": invalid syntax'),
        (["-p", "\u0661"], 'invalid argument "\u0661" for "-p, --bind-port" flag: strconv.ParseInt: parsing "\u0661": invalid syntax'),
        (
            ["-p", "9223372036854775808"],
            'invalid argument "9223372036854775808" for "-p, --bind-port" flag: '
            'strconv.ParseInt: parsing "9223372036854775808": value out of range',
        ),
        (["-o=maybe"], 'invalid argument "maybe" for "-o, --tls-only" flag: strconv.ParseBool: parsing "maybe": invalid syntax'),
        (["--tls_mode=x"], 'invalid argument "x" for "--tls-mode" flag: strconv.ParseBool: parsing "x": invalid syntax'),
        (["--metadatas", "x"], 'invalid argument "x" for "--metadatas" flag: x must be formatted as key=value'),
        (["--metadatas", "a=1,x,b=2"], 'invalid argument "a=1,x,b=2" for "--metadatas" flag: x must be formatted as key=value'),
        (["--metadatas", ""], 'invalid argument "" for "--metadatas" flag:  must be formatted as key=value'),
        (["--allow_ports", "1-2-3"], 'invalid argument "1-2-3" for "--allow-ports" flag: range number is invalid'),
        (["--allow_ports", "2-1"], 'invalid argument "2-1" for "--allow-ports" flag: range number is invalid'),
        (
            ["--allow_ports", "x"],
            'invalid argument "x" for "--allow-ports" flag: range number is invalid, strconv.ParseInt: parsing "x": invalid syntax',
        ),
        (["--bandwidth_limit", "1GB"], 'invalid argument "1GB" for "--bandwidth-limit" flag: unit not support'),
    ],
)
def test_misuse_is_told_with_the_exact_text(args: list[str], text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(FLAGS, args)
    assert str(error.value) == text


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_every_number_is_read_in_every_base(number: int) -> None:
    for form in (str, hex, oct, bin):
        assert integer(form(number)) == number


@given(st.text("0123456789xXoObB_+- \u0661", max_size=8))
def test_a_number_is_what_python_reads_without_blanks_or_is_refused(text: str) -> None:
    try:
        expected = None if text != text.strip() or not text.isascii() else int(text, 0)
    except ValueError:
        expected = None
    if expected is None and not text.lstrip("+-").startswith("0"):
        with pytest.raises(ValueError, match=r"^strconv\.ParseInt: parsing "):
            integer(text)
    elif expected is not None:
        assert integer(text) == expected


@pytest.mark.parametrize(
    ("args", "index"),
    [
        ([], None),
        (["verify"], 0),
        (["-t", "verify"], None),
        (["-t=x", "verify"], 1),
        (["-tx", "verify"], 1),
        (["--token", "x", "verify"], 2),
        (["--tls_only", "verify"], 1),
        (["-o", "verify"], 1),
        (["--unknown", "x", "verify"], 2),
        (["--", "verify"], None),
        (["", "-", "verify"], 2),
    ],
)
def test_the_first_word(args: list[str], index: int | None) -> None:
    assert first_word(FLAGS, args) == index


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("0", 0),
        ("-1s", -1),
        ("+2us", 2e-6),
        ("3ns", 3e-9),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)
    assert isinstance(duration(text), Duration)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x", 'time: invalid duration "x"'),
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("s", 'time: invalid duration "s"'),
        (".s", 'time: invalid duration ".s"'),
        ("30", 'time: missing unit in duration "30"'),
        ("1s5", 'time: missing unit in duration "1s5"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("1 s", 'time: unknown unit " s" in duration "1 s"'),
        ("9999999h", 'time: invalid duration "9999999h"'),
    ],
)
def test_what_is_no_duration(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as error:
        parse([Flag("api-timeout", DURATION, Duration(30), "a time")], ["--api-timeout", text])
    assert str(error.value) == f'invalid argument "{text}" for "--api-timeout" flag: {reason}'


def test_help_shows_a_duration_with_its_unit() -> None:
    assert usages([Flag("api-timeout", DURATION, Duration(30), "a time")]) == "      --api-timeout duration   a time (default 30s)\n"


def test_flags_make_a_tree_without_what_is_empty() -> None:
    values = parse(FLAGS, ["-t", "", "--allow_ports", "1", "--strict_config=false", "--bandwidth_limit", " 1MB "])
    assert tree(FLAGS, values) == {
        "bindPort": 7000,
        "transport": {"tls": {"force": False}, "strict": False, "bandwidthLimit": "1MB"},
        "allowPorts": [{"single": 1}],
    }


def test_help_is_aligned_and_sorted() -> None:
    assert usages(FLAGS[:4]) == (
        "  -p, --bind-port int   a port (default 7000)\n"
        "  -s, --strict-config   another (default true)\n"
        "  -o, --tls-only        a switch\n"
        "  -t, --token string    a secret\n"
    )
