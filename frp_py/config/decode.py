"""From a tree of plain values to structs, by the rules of Go's JSON decoder (config.md 1.6 to 1.8).

The common case, keys spelled exactly and values of the right type, is one `msgspec.convert`. Only when that fails is the
tree walked here: keys are matched without regard to case, nulls become defaults, whole floats become integers, unknown keys are
dropped or refused, and the first error gets the specification's text and a line that says where it is.
"""

import datetime
import functools
import math
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn, TypeVar

import msgspec

from ..errors import ConfigError
from .base import Bandwidth, Section
from .client import ClientCommon, ClientConfig
from .explain import explain_unknown, shown
from .gotext import json_number, quote
from .plugins import PLUGINS
from .proxies import PROXIES, ProxyBase
from .server import ServerConfig
from .typenames import GO_NAMES
from .visitors import VISITOR_PLUGINS, VISITORS, VisitorBase

T = TypeVar("T", bound=Section)


class Number:
    """A JSON number that is no integer literal; it fits nothing, but errors show it as written."""

    __slots__ = ("literal",)

    def __init__(self, literal: str) -> None:
        self.literal = literal


class Document(NamedTuple):
    """A parsed file: `tree` is what it says, `format` is toml, yaml or json, `source` is its name in errors, `note` ends some."""

    tree: Any
    format: str
    source: str
    note: str = ""


def decode_server(document: Document, *, strict: bool = True) -> ServerConfig:
    """Return frps's configuration. Raises ConfigError with the text of config.md 1.8."""
    return _decode(document, ServerConfig, lambda walk: walk.section(document.tree, ServerConfig), strict, "ServerConfig", "ServerConfig")


def decode_client(document: Document, *, strict: bool = True) -> ClientConfig:
    """Return frpc's configuration with all proxies and visitors. Raises ConfigError with the text of config.md 1.8."""
    return _decode(document, ClientConfig, lambda walk: walk.client(document.tree), strict, "rawClientConfig", "ClientConfig")


def entry_tree(value: Any, kind: str, path: str, source: str) -> dict[str, Any]:
    """Return what an entry of a store file says of a proxy or visitor (`kind`): keys spelled properly, no nulls, no unknown keys.

    Raises ConfigError with the text of config.md 1.8, without the frame that says which entry it is.
    """
    walk = _Walk(Document(value, "json", source), strict=False)
    return walk.proxy(value, (path,)) if kind == "proxy" else walk.visitor(value, (path,))


def entry_of(tree: dict[str, Any], kind: str) -> Any:
    """Return the proxy or visitor that such a tree describes."""
    return msgspec.convert(tree, (PROXIES if kind == "proxy" else VISITORS)[tree["type"]], dec_hook=_custom)


def _decode(document: Document, cls: type[T], walk: "Callable[[_Walk], Any]", strict: bool, raw_name: str, name: str) -> T:
    tree = document.tree
    if tree is None:
        return cls()
    if isinstance(tree, dict):
        try:
            config = msgspec.convert(tree, cls, dec_hook=_custom)
            if not any(_lacks_type(visitor) for visitor in tree.get("visitors", ())):
                return config
        except msgspec.ValidationError:
            pass
        try:
            return msgspec.convert(walk(_Walk(document, strict=strict)), cls, dec_hook=_custom)
        except RecursionError:
            raise ConfigError(f"exceeded max depth\n  in {document.source}") from None
    inner = f"json: cannot unmarshal {_kind(tree)} into Go value of type v1.{raw_name if strict or document.format != 'yaml' else name}"
    raise ConfigError(
        f"{_frame(document, strict)}{inner}\n  in {document.source}: expected keys and values, found {_kind_word(tree)}{document.note}"
    )


def _lacks_type(visitor: dict[str, Any]) -> bool:
    # There is but one visitor plugin, and msgspec asks for a type only where there are several.
    return "plugin" in visitor and "type" not in visitor["plugin"]


def _custom(cls: type, value: Any) -> Any:
    if cls is Bandwidth and isinstance(value, str):
        return Bandwidth(value)
    raise ValueError(f"{value!r} is no {cls.__name__}")


def _frame(document: Document, strict: bool) -> str:
    lenient_yaml = document.format == "yaml" and not strict
    return "error unmarshaling JSON: while decoding JSON: " if lenient_yaml else ""


class _Key(NamedTuple):
    name: str  # as in files
    group: str  # the internal grouping that error texts show in front of it
    type: Any  # str, int, bool, Bandwidth, Section subclass, list of one of them, dict with a value type
    nested: str  # "", "list", "map": what `type` is wrapped in
    go: str  # the name of the type in error texts


_INT64 = {
    "dialServerKeepalive",
    "dialServerTimeout",
    "heartbeatInterval",
    "heartbeatTimeout",
    "maxDays",
    "maxPoolCount",
    "maxPortsPerClient",
    "natholeAnalysisDataReserveHours",
    "tcpKeepalive",
    "tcpMuxKeepaliveInterval",
    "udpPacketSize",
    "userConnTimeout",
    "vhostHTTPTimeout",
}
_SCALARS = {str: "string", int: "int", bool: "bool", Bandwidth: "string"}
_EXPECTED = {str: "a string", int: "a whole number", bool: "true or false", Bandwidth: 'a string such as "1MB" or "512KB"'}


def fold(key: str) -> str:
    """Return what spellings of one key have in common: case is ignored, by simple folding."""
    return key.lower().replace("ſ", "s")


@functools.cache
def keys_of(cls: type[Section]) -> dict[str, _Key]:
    """Return the keys of a struct by their folded name."""
    found = {}
    for field in msgspec.structs.fields(cls):
        nested, kind = _plain_type(field.type)
        go = _SCALARS.get(kind) or GO_NAMES.get(kind, "")
        if field.encode_name in _INT64:
            go = "int64"
        found[fold(field.encode_name)] = _Key(field.encode_name, _group(cls, field.name), kind, nested, go)
    return found


def _plain_type(hint: Any) -> tuple[str, Any]:
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return "", typing.get_args(hint)[0]
    if origin is types.UnionType or origin is typing.Union:
        return "", typing.get_args(hint)[0]
    if origin is tuple:
        return "list", typing.get_args(hint)[0]
    if origin is dict:
        return "map", typing.get_args(hint)[1]
    return "", hint


def _group(cls: type[Section], attribute: str) -> str:
    owner = next(base for base in reversed(cls.__mro__) if issubclass(base, Section) and attribute in base.__struct_fields__)
    group = "" if owner is cls else {"TlsFiles": "TLSConfig.", "DomainProxy": "DomainConfig."}.get(owner.__name__, "")
    if owner is ClientCommon:
        group = "ClientCommonConfig."
    elif owner is ProxyBase:
        group = "ProxyBaseConfig." + ("ProxyBackend." if attribute in ("local_ip", "local_port", "plugin") else "")
    elif owner is VisitorBase:
        group = "VisitorBaseConfig."
    return group + "APIMetadata." if attribute == "version" else group


class _Walk:
    """One lenient pass over a document; gives a tree with canonical keys and without nulls, or raises at the first error."""

    def __init__(self, document: Document, *, strict: bool) -> None:
        self._document = document
        self._strict = strict
        self._lenient_yaml = document.format == "yaml" and not strict
        self._outer = _frame(document, strict)  # stands before every text
        self._frame = ""  # says which proxy or plugin it is; none in the common part
        self._owner = ""  # the same for people
        if document.format != "json":
            _check_finite(document.tree, document.source)

    # What a whole client, a proxy, a visitor is made of

    def client(self, tree: dict[str, Any]) -> dict[str, Any]:
        """Check frpc's file: the common part first, then proxies, then visitors."""
        result = self.section(tree, ClientConfig)
        for key, read, word in (("proxies", self.proxy, "proxy"), ("visitors", self.visitor, "visitor")):
            if key in result:
                result[key] = [self._entry(value, word, i, read) for i, value in enumerate(result[key])]
        return result

    def _entry(self, value: Any, word: str, index: int, read: Any) -> Any:
        self._outer = _frame(self._document, self._strict) if self._lenient_yaml else f"decode {word} at index {index}: "
        return read(value, (f"{'proxies' if word == 'proxy' else 'visitors'}[{index}]",))

    def proxy(self, value: Any, path: tuple[str, ...]) -> dict[str, Any]:
        """Check one proxy."""
        return self._typed(value, path, PROXIES, "proxy", "ProxyConfig")

    def visitor(self, value: Any, path: tuple[str, ...]) -> dict[str, Any]:
        """Check one visitor."""
        return self._typed(value, path, VISITORS, "visitor", "VisitorConfig")

    def _typed(self, value: Any, path: tuple[str, ...], kinds: Any, word: str, name: str) -> dict[str, Any]:
        if value is None:
            self._fail("type is required", path, f"needs a type: {_choice(kinds)}")
        if not isinstance(value, dict):
            self._fail(
                f"json: cannot unmarshal {_kind(value)} into Go value of type v1.{name}", path, f"must be a table, not {shown(value)}"
            )
        kind = self._type_of(value, path)
        if kind not in kinds:
            self._fail(
                f"unknown {word} type: {kind}", (*path, "type"), f"must be {_choice(kinds)}" + (f", not {shown(kind)}" if kind else "")
            )
        self._frame, self._owner = f"unmarshal {name} error: ", f"{kind} {'proxies' if word == 'proxy' else 'visitors'}"
        result = self.section(value, kinds[kind], path, has_type=True)
        self._frame = self._owner = ""
        return {"type": kind, **result}

    def _type_of(self, value: dict[str, Any], path: tuple[str, ...]) -> str:
        kind = ""
        for key, item in self._items(value):
            if fold(key) == "type" and item is not None:
                if not isinstance(item, str):
                    self._frame = self._outer = ""
                    self._fail(
                        f'field "type": cannot unmarshal {_kind(item)} into string', (*path, key), f"must be a string, not {shown(item)}"
                    )
                kind = item
        return kind

    def _plugin(self, value: Any, path: tuple[str, ...], of_visitor: bool) -> dict[str, Any]:
        word = "visitor plugin" if of_visitor else "plugin"
        kinds: Any = VISITOR_PLUGINS if of_visitor else PLUGINS
        options = "VisitorPluginOptions" if of_visitor else "ClientPluginOptions"
        if not isinstance(value, dict):
            text = f"json: cannot unmarshal {_kind(value)} into Go value of type v1.Typed{options}"
            self._fail(text, path, f"must be a table, not {shown(value)}")
        kind = self._type_of(value, path)
        if kind not in kinds:
            text = f"unknown {word} type: {kind}" if kind else f"{word} type is empty"
            self._fail(text, (*path, "type"), f"must be {_choice(kinds)}" + (f", not {shown(kind)}" if kind else ""))
        outside = self._frame, self._owner
        frame = "visitor plugin" if of_visitor else "proxy plugin"
        self._frame = ("" if self._lenient_yaml else f"unmarshal {frame} error: ") + f"unmarshal {options} error: "
        self._owner = f"plugin {kind}"
        result = self.section(value, kinds[kind], path, has_type=True)
        self._frame, self._owner = outside
        return {"type": kind, **result}

    # Tables and values

    def section(
        self, value: dict[str, Any], cls: type[Section], path: tuple[str, ...] = (), go_path: str = "", *, has_type: bool = False
    ) -> dict[str, Any]:
        """Check one table against the struct it is for."""
        result: dict[str, Any] = {}
        known = keys_of(cls)
        for written, item in self._items(value):
            key = known.get(fold(written))
            if key is None:
                if has_type and fold(written) == "type":
                    continue
                if not path and self._strict and self._document.format == "yaml" and written.startswith("."):
                    continue  # the place for anchors
                if self._strict:
                    self._fail(
                        f"json: unknown field {quote(written)}",
                        (*path, written),
                        explain_unknown(written, cls, self._owner or "this table"),
                    )
                continue
            if item is None:
                if key.name == "plugin":
                    result.pop("plugin", None)
                continue
            here = (*path, written)
            if key.name == "plugin":
                result["plugin"] = self._plugin(item, here, issubclass(cls, VisitorBase))
                continue
            new = self._value(item, key, cls, here, go_path + key.group + key.name)
            old = result.get(key.name)
            result[key.name] = merged(old, new) if isinstance(old, dict) else new
        return result

    def _items(self, value: dict[str, Any]) -> Iterator[tuple[str, Any]] | Any:
        return value.items() if self._document.format == "json" else sorted(value.items())

    def _value(self, item: Any, key: _Key, cls: type[Section], path: tuple[str, ...], go_path: str) -> Any:
        kind = key.type
        if key.nested == "list":
            return self._list(item, key, cls, path, go_path)
        if key.nested == "map":
            if not isinstance(item, dict):
                self._mismatch(item, cls, path, go_path, f"map[string]{_SCALARS[kind]}", f"a table whose values are {_EXPECTED[kind]}")
            empty = kind()
            return {
                k: empty if v is None else self._scalar(v, kind, cls, (*path, k), go_path, _SCALARS[kind]) for k, v in self._items(item)
            }
        if kind in _SCALARS:
            return self._scalar(item, kind, cls, path, go_path, key.go)
        if not isinstance(item, dict):
            self._mismatch(item, cls, path, go_path, key.go, "a table")
        return self.section(item, kind, path, go_path + ".")

    def _list(self, item: Any, key: _Key, cls: type[Section], path: tuple[str, ...], go_path: str) -> Any:
        kind = key.type
        entries = key.name in ("proxies", "visitors") and cls is ClientConfig
        go = "jsonx.RawMessage" if entries else key.go
        if not isinstance(item, list | tuple):
            self._mismatch(item, cls, path, go_path, "[]" + go, f"a list of {'strings' if kind is str else 'tables'}")
        if entries:
            return list(item)  # each is read after the common part
        result = []
        for i, value in enumerate(item):
            here = (*path[:-1], f"{path[-1]}[{i}]")
            if kind is str:
                result.append("" if value is None else self._scalar(value, kind, cls, here, go_path, go))
            elif value is None:
                result.append({})
            elif isinstance(value, dict):
                result.append(self.section(value, kind, here, go_path + "."))
            else:
                self._mismatch(value, cls, here, go_path, go, "a table")
        return result

    def _scalar(self, item: Any, kind: Any, cls: type[Section], path: tuple[str, ...], go_path: str, go: str) -> Any:
        if kind is int:
            if isinstance(item, int) and not isinstance(item, bool) and -(2**63) <= item < 2**63:
                return item
            if isinstance(item, float) and item.is_integer() and -(2.0**63) <= item < 2.0**63:
                return int(item)
        elif kind is bool:
            if isinstance(item, bool):
                return item
        elif isinstance(item, str):
            if kind is Bandwidth:
                try:
                    Bandwidth(item)
                except ValueError as error:
                    self._fail(str(error), path, f"must be {_EXPECTED[kind]}, not {shown(item)}")
            return item
        elif kind is str and isinstance(item, datetime.datetime | datetime.date | datetime.time):
            return _time_text(item)
        return self._mismatch(item, cls, path, go_path, go, _EXPECTED[kind])

    # Errors

    def _mismatch(self, item: Any, cls: type[Section], path: tuple[str, ...], go_path: str, go: str, expected: str) -> NoReturn:
        kind = _kind(item)
        if kind == "number" and go in ("int", "int64"):
            kind += " " + _literal(item)
        if self._frame or self._lenient_yaml:
            struct = GO_NAMES.get(cls, cls.__name__).removeprefix("v1.").removeprefix("types.")
            text = f"json: cannot unmarshal {kind} into Go struct field {struct}.{go_path} of type {go}"
        else:
            text = f'field "{go_path}": cannot unmarshal {kind} into {go}'
        advice = ""
        if go == "string" and not isinstance(item, list | dict):
            advice = "; put it in quotes"
        elif go in ("int", "int64", "bool") and isinstance(item, str):
            advice = "; leave out the quotes" if item.isdecimal() or item in ("true", "false") else ""
        self._fail(text, path, f"must be {expected}, not {shown(item, path[-1])}{advice}")

    def _fail(self, text: str, path: tuple[str, ...], what: str) -> NoReturn:
        key = ".".join(path)
        raise ConfigError(f"{self._outer}{self._frame}{text}\n  in {self._document.source}: {key}{' ' if key else ''}{what}")


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return what two tables of one name give together: the later one wins, key by key."""
    return {
        **old,
        **{key: merged(old[key], item) if isinstance(old.get(key), dict) and isinstance(item, dict) else item for key, item in new.items()},
    }


def _choice(kinds: dict[str, Any]) -> str:
    return ("one of " if len(kinds) > 1 else "") + ", ".join(kinds)


def _kind(item: Any) -> str:
    """Return the word of config.md 1.8 for a value's type."""
    if isinstance(item, bool):
        return "bool"
    if isinstance(item, int | float | Number):
        return "number"
    return "array" if isinstance(item, list | tuple) else "object" if isinstance(item, dict) else "string"


def _kind_word(item: Any) -> str:
    return {"array": "a list", "string": "one piece of text", "number": "a number", "bool": "true or false"}[_kind(item)]


def _literal(item: Any) -> str:
    return item.literal if isinstance(item, Number) else json_number(item) if isinstance(item, float) else str(item)


def _time_text(item: datetime.datetime | datetime.date | datetime.time) -> str:
    text = item.isoformat()
    if "." in text:
        head, _, tail = text.partition(".")
        digits = tail[:6].rstrip("0")
        text = f"{head}.{digits}{tail[6:]}" if digits else head + tail[6:]
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def _check_finite(tree: Any, source: str) -> None:
    """Refuse infinity and not-a-number anywhere: they can't be re-encoded, so that comes before every other error."""
    if isinstance(tree, dict | list):
        for item in tree.values() if isinstance(tree, dict) else tree:
            _check_finite(item, source)
    elif isinstance(tree, float) and not math.isfinite(tree):
        name = "NaN" if math.isnan(tree) else "+Inf" if tree > 0 else "-Inf"
        raise ConfigError(f"json: unsupported value: {name}\n  in {source}: a value is {name}, which is no number that any key takes")
