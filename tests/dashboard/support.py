"""The files of the dashboards, and a way to run their modules without a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from playwright._impl._driver import compute_driver_executable

DASHBOARD = Path(__file__).parents[2] / "frp_py" / "dashboard"
SHARED = DASHBOARD / "shared"
APPS = ("server", "client")


def scripts(*folders: str) -> list[Path]:
    """All modules of our own."""
    return sorted(path for folder in folders for path in (DASHBOARD / folder).rglob("*.js") if "vendor" not in path.parts)


def place(app: str, path: str) -> Path:
    """The file that is served at `/static/PATH` in the dashboard of `app`."""
    return DASHBOARD / path if path.startswith("shared/") else DASHBOARD / app / path


_BROWSER = """
const load = (path) => import(`./static/${path}`);
const tell = (value) => console.log(JSON.stringify(value ?? null));
globalThis.addEventListener = () => {};
globalThis.location = { hash: "" };
globalThis.document = { documentElement: { dataset: {} }, addEventListener() {}, hidden: false, baseURI: "http://h/p/static/" };
globalThis.history = {
  state: null,
  replaceState(state, _title, to) {
    this.state = state;
    if (to) location.hash = to;
  },
};
"""


def run(folder: Path, script: str) -> Any:
    """What `script` gives to `tell(value)`, when it runs in the engine that playwright brings. `load(path)` imports a module."""
    shutil.copytree(DASHBOARD, folder / "static")
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (folder / "main.js").write_text(_BROWSER + script, encoding="utf-8")
    engine = compute_driver_executable()[0]
    done = subprocess.run([engine, "main.js"], cwd=folder, capture_output=True, text=True, timeout=30, env={"TZ": "UTC"}, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def dictionaries(folder: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Folder -> language -> key -> text of each `texts.js`."""
    names = json.dumps(["shared", *APPS])
    script = f"const all = {{}}; for (const name of {names}) all[name] = (await load(`${{name}}/texts.js`)).default; tell(all);"
    found: dict[str, dict[str, dict[str, str]]] = run(folder, script)
    return found
