"""The modules that need no browser: how things are written, and where addresses lead."""

from __future__ import annotations

from pathlib import Path

from tests.dashboard.support import run


def test_sizes_have_units_of_1024_and_two_decimals_at_most(tmp_path: Path) -> None:
    sizes = [0, 1, 1023, 1024, 1536, 1600, 1048575, 1048576, 5 << 30, 1 << 60, 1 << 70, -5]
    told = run(tmp_path, f"const {{ bytes }} = await load('shared/format.js'); tell({sizes}.map(bytes));")
    assert told == ["0 B", "1 B", "1023 B", "1 KB", "1.5 KB", "1.56 KB", "1 MB", "1 MB", "5 GB", "1 EB", "1024 EB", "0 B"]


def test_spans_and_ages_are_told_in_both_languages(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
        const { addTexts, setLanguage } = await load("shared/i18n.js");
        addTexts((await load("shared/texts.js")).default);
        const { ago, duration } = await load("shared/format.js");
        const spans = [0, 59, 61, 3600, 90061, 864000];
        const moments = [1000, 997, 990, 940, 1200];
        const all = () => [...spans.map(duration), ...moments.map((then) => ago(then, 1000)), ago(0, 90000)];
        setLanguage("en");
        const english = all();
        setLanguage("zh");
        tell([english, all()]);
        """,
    )
    assert told == [
        [
            "0s",
            "59s",
            "1m 1s",
            "1h 0m",
            "1d 1h",
            "10d 0h",
            "just now",
            "just now",
            "10 seconds ago",
            "1 minute ago",
            "just now",
            "1 day ago",
        ],
        ["0秒", "59秒", "1分 1秒", "1小时 0分", "1天 1小时", "10天 0小时", "刚刚", "刚刚", "10秒钟前", "1分钟前", "刚刚", "1天前"],
    ]


def test_a_name_can_hide_nothing(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        r"""
        const { printable } = await load("shared/format.js");
        tell(["<b>&amp;", "a\u202egnp.exe", "x\ny\u0000", "zero\u200bwidth", "👩‍👩‍👧 نام‌ها שלום", null, "\ufeff"].map(printable));
        """,
    )
    assert told == ["<b>&amp;", "a⟨202E⟩gnp.exe", "x⟨000A⟩y⟨0000⟩", "zero⟨200B⟩width", "👩‍👩‍👧 نام‌ها שלום", "", "⟨FEFF⟩"]


def test_words_take_their_values_and_numbers(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
        const { addTexts, setLanguage, t } = await load("shared/i18n.js");
        addTexts({ en: { a: "{n} cat|{n} cats", b: "{x} and {y}" }, zh: { a: "{n} 只猫" } });
        setLanguage("en");
        const english = [t("a", { n: 1 }), t("a", { n: 2 }), t("b", { x: "{y}", y: "$&" }), t("missing")];
        setLanguage("zh");
        tell([...english, t("a", { n: 1 }), t("b", { x: 1 })]);
        """,
    )
    assert told == ["1 cat", "2 cats", "{y} and $&", "missing", "1 只猫", "1 and {y}"]


def test_an_address_gives_back_the_names_that_were_put_in(tmp_path: Path) -> None:
    names = ["plain", "sl/ash", "q?u#e%ry", "<script>", "שם", "😀", "%2F", "a b+c", "..", "%zz"]
    told = run(
        tmp_path,
        f"""
        const {{ find, match, navigate, place, setQuery, to }} = await load("shared/router.js");
        const routes = [{{ path: "/proxies/:type?" }}, {{ path: "/proxy/:name" }}];
        const there = {names!r}.map((name) => {{
          navigate(to`/proxy/${{name}}${{{{ client: name, page: "", none: undefined }}}}`, {{ replace: true }});
          return [find(routes, place.value.path).values.name, place.value.query];
        }});
        setQuery({{ page: 2, client: "" }});
        const patterns = [["/proxies/:type?", "/proxies"], ["/a/:b", "/a"], ["/a", "/a/b"], ["/a/:b", "/a/%zz"], ["/", ""]];
        tell([there, location.hash, patterns.map(([pattern, path]) => match(pattern, path)), find(routes, "/nowhere")]);
        """,
    )
    there, changed, matched, nowhere = told
    assert there == [[name, {"client": name}] for name in names]
    assert changed == "#/proxy/%25zz?page=2"
    assert matched == [{}, None, None, {"b": "%zz"}, {}]
    assert nowhere is None


def test_an_address_of_the_api_lies_beside_the_page_whatever_prefix_a_proxy_has_put_before_it(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
        const { address, part } = await load("shared/api.js");
        tell([address("api/x/overview"), address(`api/v2/clients/${part("a/b?c#%")}`, { q: "", user: undefined, page: 2 })]);
        """,
    )
    assert told == ["http://h/p/api/x/overview", "http://h/p/api/v2/clients/a%2Fb%3Fc%23%25?q=&page=2"]
