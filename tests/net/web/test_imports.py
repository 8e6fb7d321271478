"""Nothing of the web layer costs a program anything that doesn't serve it."""

from __future__ import annotations

import pytest

from tests.test_architecture import imported_by


@pytest.mark.parametrize("program", ["frps", "frpc"])
def test_a_program_without_a_web_server_imports_nothing_of_it(program: str) -> None:
    app = {"frps": "frp_py.server.app", "frpc": "frp_py.client.app"}[program]
    modules = imported_by(f"import {app}, frp_py.cli.{program}, frp_py.cli.process")
    web = ("starlette", "anyio", "sqlite3", "frp_py.net.web")
    assert [name for name in modules if name.startswith(web)] == []


def test_the_table_of_operations_can_be_written_without_the_web_layer() -> None:
    assert not {name.split(".")[0] for name in imported_by("import frp_py.net.web.operations")} & {"starlette", "anyio", "trio"}
