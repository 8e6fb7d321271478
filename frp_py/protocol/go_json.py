"""JSON as Go's `encoding/json` writes and reads it (wire.md 3.2).

Reading tries msgspec strictly first, which takes every text an ordinary peer sends. Only a text it refuses is read again
the slow way, with Go's leniency: keys in any case, `null` for empty, unknown keys, invalid UTF-8.
"""

import json
from typing import Any, NoReturn, TypeVar

import msgspec
from msgspec import inspect

from frp_py.errors import PeerError

T = TypeVar("T", bound=msgspec.Struct)

_NOT_VALID = (msgspec.MsgspecError, ValueError, RecursionError)
_encode = msgspec.json.Encoder(order="deterministic").encode
_decoders: dict[type[Any], Any] = {}
_infos: dict[type[Any], inspect.Type] = {}


def encode(message: msgspec.Struct) -> bytes:
    """The JSON text of a struct: no white space, keys in the struct's order, map keys sorted, Go's escapes (wire.md 3.2)."""
    try:
        data = _encode(message)
    except UnicodeEncodeError:  # a name the system gave us that is no text
        data = msgspec.json.encode(_without_surrogates(msgspec.to_builtins(message, order="deterministic")))
    # none of these can stand outside a string, so the text can be changed as bytes
    if b"&" in data or b"<" in data or b">" in data:
        data = data.replace(b"&", b"\\u0026").replace(b"<", b"\\u003c").replace(b">", b"\\u003e")
    if not data.isascii():
        data = data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return data


def decode(cls: type[T], data: bytes | bytearray | memoryview) -> T:
    """The struct in a JSON text, read as leniently as Go does (wire.md 3.2).

    `cls` must forbid unknown fields, else keys in another case would be lost. Raises PeerError.
    """
    decoder = _decoders.get(cls)
    if decoder is None:
        decoder = _decoders[cls] = msgspec.json.Decoder(cls).decode
    try:
        return decoder(data)
    except _NOT_VALID:
        return _decode_leniently(cls, data)


class _Object(list[tuple[str, Any]]):
    """A JSON object as its pairs, since the order of duplicates counts."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _decode_leniently(cls: type[T], data: bytes | bytearray | memoryview) -> T:
    info = _infos.get(cls)
    if info is None:
        info = _infos[cls] = inspect.type_info(cls)
    try:
        value = json.loads(str(data, "utf-8", "replace"), object_pairs_hook=_Object, parse_constant=_refuse_constant)
        return msgspec.convert(_as_wanted(value, info), cls)
    except _NOT_VALID as error:
        raise PeerError(f"{cls.__name__} message is not valid: {error}") from None


def _as_wanted(value: Any, info: inspect.Type) -> Any:
    """`value` with the keys that `info` knows and without nulls; what doesn't fit stays, for msgspec to refuse."""
    if isinstance(info, inspect.UnionType):  # only "struct or None" occurs
        info = next(choice for choice in info.types if not isinstance(choice, inspect.NoneType))
    if isinstance(value, _Object):
        if isinstance(info, inspect.StructType):
            return _fields(value, info)
        if isinstance(info, inspect.DictType):
            return {_valid(key): _item(item, info.value_type) for key, item in value}
        return dict(value)
    if isinstance(value, list) and isinstance(info, inspect.VarTupleType):
        return [_item(item, info.item_type) for item in value]
    if isinstance(value, str):
        return _valid(value)
    return value


def _fields(pairs: _Object, info: inspect.StructType) -> dict[str, Any]:
    exact = {field.encode_name: field for field in info.fields}
    folded = {_fold(name): field for name, field in exact.items()}
    found: dict[str, Any] = {}
    for key, value in pairs:
        field = exact.get(key) or folded.get(_fold(key))
        if field is None:
            continue
        if value is None:
            found.pop(field.encode_name, None)
        else:
            found[field.encode_name] = _as_wanted(value, field.type)
    return found


def _item(value: Any, info: inspect.Type) -> Any:
    """One entry of a list or map, where null stands for the empty value too."""
    if value is not None:
        return _as_wanted(value, info)
    return "" if isinstance(info, inspect.StrType) else {}


def _fold(key: str) -> str:
    return key.lower().replace("\u017f", "s")  # the long s: with the Kelvin sign, which lower() knows, all that folds to ASCII


def _valid(text: str) -> str:
    """`text` with U+FFFD for half surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _valid(value)
    if isinstance(value, dict):
        return {_valid(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value
