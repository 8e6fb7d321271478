"""The specification's texts for TOML syntax errors (config.md 1.3, 1.8), from what tomli says and where it stopped."""

import re

import tomli

_REASONS = {
    "Expected '=' after a key in a key/value pair": "expected character =",
    "Expected ']' at the end of a table declaration": "expected character ]",
    "Expected ']]' at the end of an array declaration": "expected character ]",
    "Illegal character '\\n'": "basic strings cannot have new lines",
    "Illegal character '\\r'": "basic strings cannot have new lines",
    "Unclosed array": "array elements must be separated by commas",
}


def toml_message(error: tomli.TOMLDecodeError, path: str) -> str:
    """Return the text for a file that is no TOML, with a second line that says where."""
    text, pos = error.doc, error.pos
    where = f"\n  in {path}: line {error.lineno}, column {error.colno}: {error.msg}"
    line_start = text.rfind("\n", 0, pos) + 1
    if match := re.fullmatch(r"Cannot declare (\(.*\)) twice", error.msg):
        names = re.findall(r"'((?:[^'\\]|\\.)*)'", match[1])
        return f"toml: table {names[-1] if names else ''} already exists{where}"
    if match := re.fullmatch(r"Duplicate inline table key '(.*)'", error.msg):
        return f"toml: key {match[1]} is already defined{where}"
    if error.msg == "Cannot overwrite a value":
        line = text[line_start:pos].strip()
        if line.startswith("["):
            return f"toml: table {_last_part(line.strip('[] '))} already exists{where}"
        return f"toml: key {_last_part(line.partition('=')[0])} is already defined{where}"
    reason = _REASONS.get(error.msg)
    if error.msg.startswith("Expected ']]'") and text[pos : pos + 1] == "]":
        pos += 1  # the first bracket is there; the second is what's missing
    elif error.msg == "Invalid value":
        reason = "incomplete number" if re.match(r"[\w+-]", text[pos : pos + 1]) else "expected value"
    elif error.msg == "Invalid statement":
        reason = f"invalid character at start of key: {text[pos : pos + 1]}"
    column = pos - line_start + 1
    where = f"\n  in {path}: line {error.lineno}, column {column}: {error.msg}"
    return f"toml: line {error.lineno}, column {column}: toml: {reason or error.msg[:1].lower() + error.msg[1:]}{where}"


def _last_part(key: str) -> str:
    return key.strip().rpartition(".")[2].strip(" \t\"'")
