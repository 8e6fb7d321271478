"""Which format a file is in, and its content as a tree of plain values (config.md 1.2 to 1.5).

The content decides: TOML is tried first, whatever the file is called; then text that begins with `{` is JSON, and the rest YAML.
"""

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from .decode import Document


def parse(data: bytes, path: str, environ: Mapping[str, str], *, strict: bool = True) -> Document:
    """Return what a file says after its template is rendered. Raises ConfigError with the texts of config.md 1.3 to 1.9."""
    return parse_text(render(decoded(data), path, environ), path, strict=strict)


def decoded(data: bytes) -> str:
    """Return text in which bytes that are no UTF-8 stand as surrogates."""
    return data.decode("utf-8", "surrogateescape")


def render(text: str, path: str, environ: Mapping[str, str], *, ranges: bool = True) -> str:
    """Return text with its template actions carried out (config.md 1.9); most files have none."""
    if "{{" not in text:
        return text
    from .template import render as render_template

    return render_template(text, environ, source=path, ranges=ranges)


def parse_text(text: str, path: str, *, strict: bool = True) -> Document:
    """Return what rendered text says; the path's extension is a hint. Raises ConfigError with the texts of config.md 1.3 to 1.5."""
    import tomli

    try:
        if not _is_unicode(text):
            raise tomli.TOMLDecodeError("Invalid UTF-8", text, _first_surrogate(text))
        return Document(tomli.loads(text), "toml", path)
    except tomli.TOMLDecodeError as error:
        toml_error = error
    except ValueError:  # Python's own
        raise ConfigError(f"toml: a number has too many digits\n  in {path}") from None
    except RecursionError:
        raise ConfigError(f"toml: nested too deeply\n  in {path}") from None
    if path.lower().endswith(".toml"):
        from .toml_errors import toml_message

        raise ConfigError(toml_message(toml_error, path))
    if text.lstrip()[:1] == "{":
        from .json_reader import read_json

        return Document(read_json(text, path, strict=strict), "json", path)
    from .yaml_reader import read_yaml

    tree: Any = read_yaml(text, path)
    note = (
        f"; as TOML it has an error in line {toml_error.lineno}, column {toml_error.colno}: {toml_error.msg}"
        if isinstance(tree, str | list)
        else ""
    )
    return Document(tree, "yaml", path, note)


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _first_surrogate(text: str) -> int:
    return next(i for i, char in enumerate(text) if "\ud800" <= char <= "\udfff")
