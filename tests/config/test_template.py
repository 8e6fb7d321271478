import pytest

from frp_py.config import template
from frp_py.config.template import render
from frp_py.errors import ConfigError

ENVIRON = {"H": "host", "MODE": "prod", "A-B": "dash", "PORT": "6000", "EMPTY": ""}

RENDERED = [
    ('serverAddr = "{{ .Envs.H }}"', 'serverAddr = "host"'),
    ("remotePort = {{ .Envs.PORT }}", "remotePort = 6000"),
    ("{{ .Envs.NOPE }}", "<no value>"),
    ('{{ index .Envs "NOPE" }}', ""),
    ('{{ range parseNumberRange "1-3,7" }}{{ . }},{{ end }}', "1,2,3,7,"),
    ('{{ range parseNumberRange " 1 - 3 , 7 " }}{{ . }},{{ end }}', "1,2,3,7,"),
    ('{{ range $i, $v := parseNumberRange "5-6" }}{{ $i }}:{{ $v }} {{ end }}', "0:5 1:6 "),
    ('{{range $_, $v := parseNumberRangePair "1-2" "3-4"}}{{$v.First}}-{{$v.Second}};{{end}}', "1-3;2-4;"),
    ("{{ range $k, $v := .Envs }}{{$k}}={{$v}};{{end}}", "A-B=dash;EMPTY=;H=host;MODE=prod;PORT=6000;"),
    ("{{ range .Envs }}{{.}};{{end}}", "dash;;host;prod;6000;"),
    ("{{ range 3 }}{{.}}{{end}}{{range $i := 2}}{{$i}}{{end}}", "01201"),
    ("{{ range .Envs.NOPE }}x{{ else }}none{{ end }}{{ range 0 }}x{{ else }}none{{ end }}", "nonenone"),
    ("{{range 6}}{{if eq . 4}}{{break}}{{end}}{{if eq . 1}}{{continue}}{{end}}{{.}}{{end}}", "023"),
    ("{{range $i, $j = .Envs}}{{end}}", None),
    ("{{$x := 0}}{{range $x = 3}}{{end}}{{$x}}", "2"),
    ('{{ if eq .Envs.MODE "prod" }}P{{ else }}Q{{ end }}', "P"),
    ("{{if .Envs.X}}a{{else if .Envs.H}}b{{else}}c{{end}}{{if .Envs.X}}a{{else if .Envs.EMPTY}}b{{else}}c{{end}}|", "bc|"),
    ('{{ if eq .Envs.NOPE "yes" }}a{{ else }}b{{ end }}', "b"),
    ("{{ if 0 }}a{{ end }}{{ if false }}a{{ end }}{{ if 0.0 }}a{{end}}{{ if .Envs }}b{{ end }}{{ if . }}c{{end}}", "bc"),
    ("{{ with .Envs.H }}{{ . }}{{ else }}no{{ end }}{{ with .Envs.X }}{{ . }}{{ else }}no{{ end }}", "hostno"),
    ("{{ with $x := .Envs.H }}{{ $x }}{{ end }}{{with .Envs.X}}{{else with .Envs.H}}{{.}}{{end}}", "hosthost"),
    ('{{ $x := "a" }}{{ $x = "b" }}{{ $x }}', "b"),
    ('{{ $x := "a" }}{{ if true }}{{ $x := "b" }}{{ $x }}{{ end }}{{ $x }}', "ba"),
    ("{{range 2}}{{ $.Envs.H }}{{end}}", "hosthost"),
    ('{{ .Envs.H | printf "%s-%s" "p" }}', "p-host"),
    ('{{ print 1 | printf "%s-%v" "x" | len }}', "3"),
    ('{{ print 1 2 "a" "b" 3 4 }}', "1 2a b3 4".replace("a b", "ab")),
    ('{{ println 1 "a" }}|', "1 a\n|"),
    ('{{ or .Envs.X "dflt" }}{{ or .Envs.H "dflt" }}{{ and .Envs.H "x" }}{{ and 0 (index 1) }}', "dflthostx0"),
    ("{{ not 0 }}{{ not .Envs.H }}", "truefalse"),
    ('{{ len "abc" }}{{ len "é" }}{{ len .Envs }}{{ len (parseNumberRange "1-9") }}', "3259"),
    ('{{ slice "hello" 1 3 }}{{ slice "hello" 3 }}{{ slice "hello" }}{{ index "a" 0 }}', "ellohello97"),
    ('{{ lt 1 2 }}{{ ge 2 2 }}{{ ne "a" "b" }}{{ eq 1 2 1 }}{{ gt 1 2 }}{{ le "a" "b" }}', "truetruetruetruefalsetrue"),
    (
        "{{\"a\\tb\\x41\\u00e9\\101\"}}{{`raw`}}{{123}} {{0x10}} {{1_000}} {{'a'}} {{1.50}} {{1e3}} {{true}} {{010}} {{0b11}} {{'\\n'}}",
        None,
    ),
    ("{{ 1e21 }} {{ 1e20 }} {{ 0.00001 }} {{ -0.5 }}", "1e+21 100000000000000000000 1e-05 -0.5"),
    ("a  {{- 3 -}}  b {{-3}}", "a3b -3"),
    ("a\n\n{{- /* c */ -}}\n\n b", "ab"),
    ("x {{/* c }} */}} y", "x  y"),
    ('{{ (index (parseNumberRangePair "1" "2") 0).Second }}', "2"),
    ("{{ `{{ literal }}` }}", "{{ literal }}"),
    ('{{define "T"}}[{{.}}{{$}}]{{end}}{{template "T" 5}}{{block "B" .Envs.H}}<{{.}}>{{end}}', "[55]<host>"),
    ("{{ print\n 1 }}", "1"),
    ('{{ parseNumberRange "1-3,7" }} {{ parseNumberRangePair "1" "2" }}', "[1 2 3 7] [{1 2}]"),
    ("{{ .Envs }}", "map[A-B:dash EMPTY: H:host MODE:prod PORT:6000]"),
    ('{{ index .Envs "A-B" }}', "dash"),
    ('{{ html "<a>&" }} {{ js "a\'b" }} {{ urlquery "a b&" }}', "&lt;a&gt;&amp; a\\'b a+b%26"),
    ('{{ printf "%q" "with space" }}{{ printf "%q" (index .Envs "NOPE") }}', '"with space"""'),
    (
        '{{ printf "%05d|%-5s|%5.1f|%x|%X|%t|%c|%%|%3d|%+d|%o" 42 "ab" 3.14159 "hi" 255 true 65 7 7 8 }}',
        "00042|ab   |  3.1|6869|FF|true|A|%|  7|+7|10",
    ),
    (
        '{{ printf "%d" "x" }}{{ printf "%d" }}{{ printf "%d" 1 2 }}{{ printf "%s" 5 }}',
        "%!d(string=x)%!d(MISSING)1%!(EXTRA int=2)%!s(int=5)",
    ),
    ('{{ printf "%v %v %s" 1.5 true .Envs.NOPE }}{{ printf "%02d" (parseNumberRange "1,2") }}', "1.5 true %!s(<nil>)[01 02]"),
    ('{{ printf "%*d|%.2s|%6.2f|%e|%g" 4 7 "abc" 1.005 1.5 2.5 }}', "   7|ab|  1.00|1.500000e+00|2.5"),
    ('{{ if and (eq .Envs.MODE "prod") (not .Envs.X) }}yes{{ end }}', "yes"),
    ("{{- if true }}\n a\n{{- end }}\n", "\n a\n"),
]


@pytest.mark.parametrize(("template", "expected"), [case for case in RENDERED if case[1] is not None], ids=lambda value: None)
def test_rendering(template: str, expected: str) -> None:
    assert render(template, ENVIRON) == expected


def test_literals() -> None:
    template = (
        "{{\"a\\tb\\x41\\u00e9\\101\"}}{{`r\\aw`}}{{123}} {{0x10}} {{1_000}} {{'a'}} {{1.50}} {{1e3}} {{true}} {{010}} {{0b11}} {{'\\n'}}"
    )
    assert render(template, {}) == "a\tbAéAr\\aw123 16 1000 97 1.5 1000 true 8 3 10"


ERRORS = [
    ("{{ foo }}", '1: function "foo" not defined'),
    ('x\n{{ "a" | upper }}', '2: function "upper" not defined'),
    ("a\n{{ .x", "2: unclosed action"),
    ("a\n{{ .x\n\n", "4: unclosed action started at frp:2"),
    ("{{ if 1 }}", "1: unexpected EOF"),
    ("{{if}}{{end}}", "1: missing value for if"),
    ("{{range}}{{end}}", "1: missing value for range"),
    ("{{}}", "1: missing value for command"),
    ("{{ end }}", "1: unexpected {{end}}"),
    ("{{ else }}", "1: unexpected {{else}}"),
    ("{{if 1}}{{else}}{{else}}{{end}}", "1: expected end; found {{else}}"),
    ("{{ $x }}", '1: undefined variable "$x"'),
    ("{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}", '1: undefined variable "$x"'),
    ("{{ $x = 1 }}", '1: undefined variable "$x"'),
    ("{{ range $i, $x := $x }}{{ end }}", '1:19: executing "frp" at <$x>: undefined variable: $x'),
    ("{{ $x := len $x.A }}", '1:15: executing "frp" at <$x.A>: undefined variable: $x'),
    ("{{ .Envs.A-B }}", "1: bad character U+002D '-'"),
    ("{{ break }}", "1: {{break}} outside {{range}}"),
    ("{{ range 3 }}{{ else }}{{ continue }}{{ end }}", "1: {{continue}} outside {{range}}"),
    ('{{"unterminated}}', "1: unterminated quoted string"),
    ("{{`unterminated}}", "1: unterminated raw quoted string"),
    ("{{'a}}", "1: unterminated character constant"),
    ("{{/* x }}", "1: unclosed comment"),
    ("{{/* x */ y}}", "1: comment ends before closing delimiter"),
    ("{{(1}}", "1: unclosed left paren"),
    ("{{1)}}", "1: unexpected right paren"),
    ("{{ 1x }}", '1: bad number syntax: "1x"'),
    ("{{ ! }}", "1: unrecognized character in action: U+0021 '!'"),
    ("{{range $i,$j,$k := .Envs}}{{end}}", "1: too many declarations in range"),
    ("{{ $x := 1 }}{{ $x, $y := 2 }}", '1: unexpected "," in operand'),
    ("{{ 1 | 2 }}", "1: non executable command in pipeline stage 2"),
    ('{{ "a".b }}', '1: unexpected . after term "\\"a\\""'),
    ("{{ template 1 }}", '1: unexpected "1" in template clause'),
    ('{{ if 1 }}{{ define "x" }}{{ end }}{{ end }}', "1: unexpected <define> in command"),
    ("{{.Foo}}", '1:2: executing "frp" at <.Foo>: can\'t evaluate field Foo in type *config.Values'),
    ("a\n{{ 1 }}{{.Foo}}", '2:9: executing "frp" at <.Foo>: can\'t evaluate field Foo in type *config.Values'),
    ("é{{.Foo}}", '1:4: executing "frp" at <.Foo>: can\'t evaluate field Foo in type *config.Values'),
    ("{{ .Envs.H.Foo }}", '1:8: executing "frp" at <.Envs.H.Foo>: can\'t evaluate field Foo in type string'),
    (
        '{{ range $_, $v := parseNumberRangePair "1-3" "1-2" }}{{end}}',
        '1:19: executing "frp" at <parseNumberRangePair "1-3" "1-2">: error calling parseNumberRangePair: '
        "first and second range numbers are not in pairs",
    ),
    (
        '{{ parseNumberRange "5-1" }}',
        '1:3: executing "frp" at <parseNumberRange "5-1">: error calling parseNumberRange: range number is invalid',
    ),
    (
        '{{ parseNumberRange "" }}',
        '1:3: executing "frp" at <parseNumberRange "">: error calling parseNumberRange: '
        'range number is invalid, strconv.ParseInt: parsing "": invalid syntax',
    ),
    ("{{ parseNumberRange .Envs.NOPE }}", '1:25: executing "frp" at <.Envs.NOPE>: invalid value; expected string'),
    ("{{ parseNumberRange 5 }}", '1:20: executing "frp" at <5>: expected string; found 5'),
    ("{{ parseNumberRange }}", '1:3: executing "frp" at <parseNumberRange>: wrong number of args for parseNumberRange: want 1 got 0'),
    ("{{ eq 1 1.0 }}", '1:3: executing "frp" at <eq 1 1.0>: error calling eq: incompatible types for comparison'),
    ('{{ lt 1 "a" }}', '1:3: executing "frp" at <lt 1 "a">: error calling lt: incompatible types for comparison'),
    ("{{ lt true false }}", '1:3: executing "frp" at <lt true false>: error calling lt: invalid type for comparison'),
    ("{{ index .Envs 1 }}", '1:3: executing "frp" at <index .Envs 1>: error calling index: value has type int; should be string'),
    ('{{ index (parseNumberRange "1") 1 }}', None),
    ("{{ len 3 }}", '1:3: executing "frp" at <len 3>: error calling len: len of type int'),
    ("{{ nil }}", '1:3: executing "frp" at <nil>: nil is not a command'),
    ('{{ "x" "y" }}', '1:3: executing "frp" at <"x">: can\'t give argument to non-function "x"'),
    ('{{ .Envs.H "y" }}', None),
    ('{{ template "nope" }}', '1:3: executing "frp" at <{{template "nope"}}>: template "nope" not defined'),
    ("{{ range true }}{{ end }}", '1:9: executing "frp" at <true>: range can\'t iterate over true'),
    ("{{ call 1 }}", None),
    ('{{ slice "abc" 2 1 }}', None),
    ('{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}', None),
    ('{{ define "x" }}' + "{{ if 1 }}" * 20 + '{{ template "x" }}' + "{{ end }}" * 21 + '{{ template "x" }}', None),
    ("{{ range 1000000000 }}0123456789012345678901234567890123456789{{ end }}", None),
    ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", None),
    ('{{ parseNumberRange "1-99999999999" }}', None),
]


@pytest.mark.parametrize(("template", "expected"), ERRORS, ids=range(len(ERRORS)))
def test_errors(template: str, expected: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        render(template, ENVIRON, source="frpc.toml")
    text, _, where = str(caught.value).partition("\n  in ")
    assert text.startswith("template: frp:")
    assert where.startswith("frpc.toml")
    if expected:
        assert text == f"template: frp:{expected}"


def test_legacy_files_have_no_ranges() -> None:
    with pytest.raises(ConfigError, match='function "parseNumberRange" not defined'):
        render('{{ parseNumberRange "1" }}', {}, ranges=False)


def test_bytes_that_are_no_text_pass_through() -> None:
    assert render("\udc80{{ len .Envs.X }}", {"X": "\udcff"}) == "\udc801"


def test_loops_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "_LONGEST", 100)
    assert render("{{ range 10 }}{{ range 9 }}{{ end }}{{ end }}", {}) == ""
    doubling = "".join(f'{{{{ define "{n}" }}}}{{{{ template "{n + 1}" }}}}{{{{ template "{n + 1}" }}}}{{{{ end }}}}' for n in range(40))
    for text in (
        "{{ range 1000000000000 }}{{ end }}",
        "{{ range 11 }}{{ range 9 }}{{ end }}{{ end }}",
        doubling + '{{ define "40" }}{{ end }}{{ template "0" }}',
    ):
        with pytest.raises(ConfigError, match="too many rounds"):
            render(text, {})


@pytest.mark.parametrize(
    "text",
    [
        '{{ printf "%*d" 99999999999 1 }}',
        '{{ printf "%-*d" -99999999999 1 }}',
        '{{ printf "%.*f" 99999999999 1.5 }}',
        '{{ printf "%1000000d%1000000d" 1 2 }}',
        '{{ printf "' + "%999999d" * 100 + '"' + " 1" * 100 + " }}",
        '{{ $x := "aaaaaaaa" }}{{ range 40 }}{{ $x = print $x $x }}{{ end }}{{ len $x }}',
        '{{ range 3000 }}{{ len (parseNumberRange "1-1000") }}{{ end }}',
    ],
)
def test_what_a_template_makes_is_bounded(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "_LARGEST", 1_500_000)
    with pytest.raises(ConfigError, match="the result is too long"):
        render(text, {})


@pytest.mark.parametrize("number", ["9" * 30, "9" * 5000, "0x" + "f" * 17, "0x" + "f" * 5000, "-9223372036854775809"])
def test_a_number_beyond_64_bits_is_an_error(number: str) -> None:
    with pytest.raises(ConfigError, match=r"integer overflow|illegal number syntax"):
        render(f"{{{{ {number} }}}}", {})
    assert render("{{ 0xffffffffffffffff }}", {}) == "18446744073709551615"
