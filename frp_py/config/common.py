"""Sections that several parts of the configuration share (config.md 2.1, 2.2)."""

import msgspec

from .base import Int, Section, fill


class EnvironmentEntry(Section, frozen=True):
    """One variable set for a program that is run."""

    name: str = ""
    value: str = ""


class FileSource(Section, frozen=True):
    """A value that is a file's content."""

    path: str = ""


class ExecSource(Section, frozen=True):
    """A value that a program prints; no shell is involved."""

    command: str = ""
    args: tuple[str, ...] = ()
    env: tuple[EnvironmentEntry, ...] = ()


class ValueSource(Section, frozen=True):
    """Where a secret comes from (config.md 2.8): `type` is `file` or `exec`."""

    type: str = ""
    file: FileSource | None = None
    exec: ExecSource | None = None


class LogConfig(Section, frozen=True):
    """What is logged, and where to: `console` or a path; `max_days` is how long old files are kept."""

    to: str = "console"
    level: str = "info"
    max_days: Int = 3
    disable_print_color: bool = False

    def __post_init__(self) -> None:
        fill(self, to="console", level="info", max_days=3)


class TlsFiles(Section, frozen=True):
    """Paths of PEM files, and the name that the other side's certificate must have."""

    cert_file: str = ""
    key_file: str = ""
    trusted_ca_file: str = ""
    server_name: str = ""


class WebServerConfig(Section, frozen=True):
    """The dashboard of frps or the admin API of frpc; port 0 means there is none."""

    addr: str = "127.0.0.1"
    port: Int = 0
    user: str = ""
    password: str = ""
    assets_dir: str = ""
    pprof_enable: bool = False
    tls: TlsFiles | None = None

    def __post_init__(self) -> None:
        fill(self, addr="127.0.0.1")


class QuicConfig(Section, frozen=True):
    """QUIC's limits; periods in seconds."""

    keepalive_period: Int = 10
    max_idle_timeout: Int = 30
    max_incoming_streams: Int = 100_000

    def __post_init__(self) -> None:
        fill(self, keepalive_period=10, max_idle_timeout=30, max_incoming_streams=100_000)


class HeaderOperations(Section, frozen=True):
    """Changes to HTTP headers: `set` maps names to values."""

    set: dict[str, str] = msgspec.field(default_factory=dict)


class NatTraversal(Section, frozen=True):
    """How addresses for hole punching are gathered."""

    disable_assisted_addrs: bool = False
