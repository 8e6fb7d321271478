"""The tree is the architecture: imports go down it, cores do no I/O, and `--version` imports next to nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import frp_py

ROOT = Path(frp_py.__file__).parent
STOREYS: tuple[tuple[str, ...], ...] = (
    ("errors", "version"),
    ("config",),
    ("protocol",),
    ("log",),
    ("net",),
    ("server", "client"),
    ("cli",),
    ("", "__main__"),
)
"""From the ground up. A package of the same storey is out of reach as well; "" is `frp_py/__init__.py`."""

NO_IO = {
    *("trio", "socket", "select", "selectors", "ssl", "asyncio", "threading", "subprocess", "signal", "io", "os", "pathlib"),
    *("time", "datetime", "random", "secrets", "uuid", "logging", "frp_py.log"),
}


class Import(NamedTuple):
    module: str
    imported: str

    def __str__(self) -> str:
        return f"{self.module} imports {self.imported}"


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def is_package(module: str) -> bool:
    return (ROOT.parent / module.replace(".", "/")).is_dir()


def is_module(name: str) -> bool:
    return is_package(name) or (ROOT.parent / f"{name.replace('.', '/')}.py").is_file()


def imports() -> Iterator[Import]:
    for module, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (Import(module, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    up = module.split(".") if is_package(module) else module.split(".")[:-1]
                    base = ".".join([*up[: len(up) - node.level + 1], *filter(None, [base])])
                yield from (Import(module, f"{base}.{a.name}" if is_module(f"{base}.{a.name}") else base) for a in node.names)


def package(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def storey(name: str) -> int:
    return next(i for i, names in enumerate(STOREYS) if name in names)


def test_every_package_has_its_storey() -> None:
    assert {package(name) for name, _ in modules()} <= {name for names in STOREYS for name in names}


def test_imports_go_down() -> None:
    ours = [i for i in imports() if i.imported.split(".")[0] == "frp_py"]
    assert len(ours) > 20
    above = [
        str(i)
        for i in ours
        if package(i.module) != package(i.imported) and storey(package(i.imported)) >= storey(package(i.module)) and i.module != "frp_py"
    ]
    assert above == []


def test_the_config_and_the_protocol_do_not_wait_and_the_protocol_does_no_io() -> None:
    assert [str(i) for i in imports() if package(i.module) == "config" and i.imported.split(".")[0] in ("trio", "socket")] == []
    banned = [str(i) for i in imports() if package(i.module) == "protocol" and (i.imported in NO_IO or i.imported.split(".")[0] in NO_IO)]
    assert banned == []


def test_nothing_imports_asyncio() -> None:
    assert [str(i) for i in imports() if i.imported.split(".")[0] in ("asyncio", "anyio")] == []


def test_every_module_says_what_it_is() -> None:
    assert [name for name, tree in modules() if not ast.get_docstring(tree)] == []


def imported_by(code: str) -> set[str]:
    """The modules that `code` imports into an interpreter that has just started."""
    script = f"import sys; before = set(sys.modules); {code}; print(*sorted(set(sys.modules) - before), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    return set(done.stderr.split())


def test_importing_the_package_is_cheap() -> None:
    assert imported_by("import frp_py") == {"__future__", "frp_py", "frp_py.errors", "frp_py.version"}


@pytest.mark.parametrize("program", ["frps", "frpc"])
def test_the_version_is_answered_before_anything_is_imported(program: str) -> None:
    allowed = {"__future__", "frp_py", "frp_py.errors", "frp_py.version", "frp_py.cli"}
    allowed |= {f"frp_py.cli.{name}" for name in ("flags", "command", "common", program)}
    assert imported_by(f"from frp_py.cli.{program} import main; main(['--version'])") == allowed
    assert imported_by(f"from frp_py.cli.{program} import main; main(['--help'])") == allowed


def test_what_programs_may_embed_is_there() -> None:
    assert sorted(frp_py.__all__) == frp_py.__all__
    assert [name for name in frp_py.__all__ if getattr(frp_py, name) is None] == []
    with pytest.raises(AttributeError, match="has no attribute 'nope'"):
        _ = frp_py.nope
