"""Values as the specification's texts print them (config.md 1.8, 1.9): the way Go does."""

import math
import re

_ESCAPES = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", "\\": r"\\"}


def quote(text: str, mark: str = '"') -> str:
    """Return `text` between double quotes with Go's escapes; undecodable bytes are surrogates, as Python reads them."""
    return mark + "".join([_escaped(char, mark) for char in text]) + mark


def _escaped(char: str, mark: str) -> str:
    if char == mark:
        return "\\" + char
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_number(value: float) -> str:
    """Return a finite float the way it is re-encoded for decoding: whole ones without a point, up to 1e21."""
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value)) if value or not math.copysign(1, value) < 0 else "-0"
    return go_float(value)


def go_float(value: float) -> str:
    """Return the shortest text of a float with an exponent from 1e21 on, as `print` and JSON show it."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    mantissa, _, exponent = f"{value!r}".partition("e")
    if 1e-4 <= abs(value) < 1e21 or value == 0:
        text = f"{value:f}" if exponent and abs(value) < 1 else f"{int(value)}" if value.is_integer() else repr(value)
        return "-0" if value == 0 and math.copysign(1, value) < 0 else text
    if not exponent:  # Python writes 1e-05 with an exponent, but 0.0001 without
        return repr(value)
    return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:]:0>2}"


def parse_number(text: str) -> int | float | None:
    """Return the value of Go's number syntax, or None; `1e3` and `1.5` are floats, `010` is 8."""
    if text.count("_") and (re.search(r"__|_$|_\.|\._|[eE]_|^[+-]?_", text) or "." in text):
        return None
    plain = text.replace("_", "")
    sign = -1 if plain.startswith("-") else 1
    digits = plain.lstrip("+-")
    try:
        if digits[:2].lower() in ("0x", "0o", "0b"):
            return sign * (int(digits, 0) if not re.search("[.pP]", digits) else float.fromhex(digits))
        if re.search("[.eE]", digits):
            return sign * float(digits)
        return sign * int(digits, 8 if len(digits) > 1 and digits[0] == "0" else 10)
    except (ValueError, OverflowError):
        return None
