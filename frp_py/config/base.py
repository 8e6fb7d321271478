"""What every section of a configuration is made of: the base struct, the names of keys, and values that are more than text.

A struct completes itself (config.md 3): a value that can't be told from an absent one becomes the default, so what is loaded
is what is in effect.
"""

from typing import Annotated

import msgspec
from msgspec.structs import force_setattr

Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

# Keys whose capitals don't follow from the attribute's name.
_IRREGULAR = {
    "client_id": "clientID",
    "connect_server_local_ip": "connectServerLocalIP",
    "destination_ip": "destinationIP",
    "disable_custom_tls_first_byte": "disableCustomTLSFirstByte",
    "enable_http2": "enableHTTP2",
    "local_ip": "localIP",
    "proxy_url": "proxyURL",
    "route_by_http_user": "routeByHTTPUser",
    "tcpmux_http_connect_port": "tcpmuxHTTPConnectPort",
    "token_endpoint_url": "tokenEndpointURL",
    "vhost_http_port": "vhostHTTPPort",
    "vhost_http_timeout": "vhostHTTPTimeout",
    "vhost_https_port": "vhostHTTPSPort",
}


def file_key(attribute: str) -> str:
    """Return the key that stands in files for an attribute: `local_port` is `localPort`."""
    if attribute in _IRREGULAR:
        return _IRREGULAR[attribute]
    first, *rest = attribute.split("_")
    return first + "".join(map(str.capitalize, rest))


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename=file_key):
    """A table of a configuration file, with snake_case attributes for its camelCase keys."""


def fill(section: Section, **defaults: object) -> None:
    """Set each attribute named in `defaults` that is 0 or empty; for use in `__post_init__` only."""
    for name, value in defaults.items():
        if not getattr(section, name):
            force_setattr(section, name, value)


class Bandwidth:
    """A rate limit such as `1.5MB` (config.md 2.9); falsy when it limits nothing.

    Raises ValueError with the specification's text for an unknown unit or a bad number.
    """

    __slots__ = ("bytes_per_second", "text")

    text: str  # trimmed, as shown and sent
    bytes_per_second: int

    def __init__(self, text: str = "") -> None:
        self.text = text = text.strip()
        self.bytes_per_second = _bytes_per_second(text) if text else 0

    def __bool__(self) -> bool:
        return self.bytes_per_second > 0

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, Bandwidth) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Bandwidth({self.text!r})"


def _bytes_per_second(text: str) -> int:
    number, unit = text[:-2], text[-2:]
    if unit not in ("MB", "KB"):
        raise ValueError("unit not support")
    try:
        # Python's floats also take blanks and "1_0"; Go's also take hexadecimal ones, which nobody writes here.
        if number != number.strip() or "_" in number:
            raise ValueError
        return int(float(number) * (1048576 if unit == "MB" else 1024))
    except (ValueError, OverflowError):
        from .gotext import quote

        raise ValueError(f"strconv.ParseFloat: parsing {quote(number)}: invalid syntax") from None
