"""What can be told of the dashboards' files without running them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.dashboard.support import APPS, DASHBOARD, SHARED, dictionaries, place, scripts

_IMPORT = re.compile(r'^\s*(?:import|export)\b[^"]*?\bfrom\s+"([^"]+)"|^\s*import\s+"([^"]+)"', re.MULTILINE)
_LATER = re.compile(r'\bimport\("([^"]+)"\)')
_LARGEST = {"server": 150_000, "client": 200_000}  # bytes of scripts and style sheets, without libraries and the words of two languages


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.last = tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.inside.append(self.last)

    def linked(self) -> list[str]:
        return [link for _, attributes in self.tags for name in ("src", "href") if (link := attributes.get(name)) is not None]


def address(base: str, link: str) -> str:
    """Where `link` in the file served at `base` leads: a path below /static/."""
    parts = [*base.split("/")[:-1], *link.split("/")]
    path: list[str] = []
    for part in parts:
        if part == "..":
            path.pop()
        elif part != ".":
            path.append(part)
    return "/".join(path)


def imports(app: str, path: str, *, later: bool = True) -> set[str]:
    text = place(app, path).read_text(encoding="utf-8")
    links = [first or second for first, second in _IMPORT.findall(text)] + (_LATER.findall(text) if later else [])
    assert all(link.startswith(("./", "../")) for link in links), f"{path}: {links}"
    return {address(path, link) for link in links}


def reached(app: str, start: str, *, later: bool = True) -> set[str]:
    """All modules that `start` loads, at once or later."""
    found, left = {start}, [start]
    while left:
        for path in imports(app, left.pop(), later=later) - found:
            assert place(app, path).is_file(), f"{path} is not there"
            found.add(path)
            left.append(path)
    return found


@pytest.mark.parametrize("app", APPS)
def test_every_link_of_a_page_leads_to_a_file(app: str) -> None:
    page = Page(DASHBOARD / app / "index.html")
    for link in page.linked():
        assert place(app, link).is_file(), link
    assert place(app, "favicon.ico").is_file()


@pytest.mark.parametrize("app", APPS)
def test_a_page_has_nothing_inline(app: str) -> None:
    page = Page(DASHBOARD / app / "index.html")
    assert not {"script", "style"} & set(page.inside)
    for tag, attributes in page.tags:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag


@pytest.mark.parametrize("app", APPS)
def test_every_import_resolves_and_every_module_is_used(app: str) -> None:
    modules = reached(app, "app.js")
    own = {path.relative_to(DASHBOARD / app).as_posix() for path in scripts(app)}
    assert own <= modules


def test_every_shared_module_is_used() -> None:
    modules = set.union(*(reached(app, "app.js") for app in APPS)) | {
        link for app in APPS for link in Page(DASHBOARD / app / "index.html").linked()
    }
    assert {path.relative_to(DASHBOARD).as_posix() for path in scripts("shared")} <= modules


@pytest.mark.parametrize("app", APPS)
def test_what_is_preloaded_is_what_is_loaded_at_the_start(app: str) -> None:
    page = Page(DASHBOARD / app / "index.html")
    early = {str(attributes["href"]) for tag, attributes in page.tags if tag == "link" and attributes.get("rel") == "modulepreload"}
    assert early == reached(app, "app.js", later=False) - {"app.js"}


@pytest.mark.parametrize("app", APPS)
def test_a_dashboard_is_small(app: str) -> None:
    files = [path for folder in (app, "shared") for path in (DASHBOARD / folder).rglob("*") if path.suffix in (".js", ".css")]
    assert sum(path.stat().st_size for path in files if "vendor" not in path.parts and path.name != "texts.js") < _LARGEST[app]


def test_the_libraries_have_their_licences_and_versions() -> None:
    vendor = SHARED / "vendor"
    told = (vendor / "VENDORED.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) (\d+\.\d+\.\d+) \|.*`(LICENSE\.\w+)` \|$", told, re.MULTILINE)
    assert {name for name, *_ in rows} == {path.name for path in vendor.iterdir() if path.suffix in (".js", ".css")}
    for _, package, _, licence in rows:
        assert licence == f"LICENSE.{package}"
        assert re.search("Copyright|Apache License", (vendor / licence).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", scripts("shared", *APPS), ids=lambda path: path.relative_to(DASHBOARD).as_posix())
def test_no_script_makes_markup_or_code_of_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|javascript:", text)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, str]]]:
    return dictionaries(tmp_path_factory.mktemp("words"))


@pytest.mark.parametrize("folder", ["shared", *APPS])
def test_both_languages_have_the_same_words(words: dict[str, dict[str, dict[str, str]]], folder: str) -> None:
    languages = words[folder]
    assert set(languages) == {"en", "zh"}
    assert sorted(languages["en"]) == sorted(languages["zh"])
    for key, english in languages["en"].items():
        chinese = languages["zh"][key]
        assert chinese, key
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", chinese)), key


@pytest.mark.parametrize("folder", ["shared", *APPS])
def test_no_word_is_there_twice(folder: str) -> None:
    for language in (DASHBOARD / folder / "texts.js").read_text(encoding="utf-8").split("  zh: {"):
        keys = re.findall(r'^    "([^"]+)":', language, re.MULTILINE)
        assert keys
        assert len(keys) == len(set(keys))


@pytest.mark.parametrize("app", APPS)
def test_every_word_that_is_used_is_there_and_every_one_there_is_used(words: dict[str, dict[str, dict[str, str]]], app: str) -> None:
    known = words["shared"]["en"] | words[app]["en"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in scripts("shared", app) if path.name != "texts.js")
    assert [key for key in re.findall(r'\bt\(\s*"([\w.]+)"', text) if key not in known] == []
    beginnings = tuple(re.findall(r"`(\w+\.[\w.]*)\$\{", text))
    assert beginnings
    whole = set(re.findall(r'"(\w+\.[\w.]+)"', text))
    assert [key for key in known if key not in whole and not key.startswith(beginnings)] == []
