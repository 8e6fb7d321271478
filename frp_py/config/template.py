"""Rendering configuration files: Go's text templates with the environment as `.Envs` (config.md 1.9)."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, NoReturn

from ..errors import ConfigError
from .gotext import quote
from .ranges import NumberPair
from .template_format import MISSING, Data, plain, sprint, type_name
from .template_functions import BUILTINS, RANGES, Builtin, truth
from .template_nodes import Action, Branch, Call, Chain, Command, Field, Function, Jump, Literal, Node, Pipe, Text, Variable
from .template_parse import TemplateSyntaxError, parse_template

_NOTHING = object()  # no value comes down the pipeline
_LARGEST = 64 * 1024 * 1024  # characters of output, and of what functions give; a loop that makes more is a mistake
_DEEPEST = 200  # templates calling templates
_LONGEST = 2_000_000  # rounds of loops and calls of templates: they take some seconds


def render(text: str, environ: Mapping[str, str], *, source: str = "the template", ranges: bool = True) -> str:
    """Return `text` with its actions carried out; `ranges` adds parseNumberRange and parseNumberRangePair.

    Raises ConfigError with the texts of config.md 1.9.
    """
    functions = BUILTINS | RANGES if ranges else BUILTINS
    try:
        templates = parse_template(text, functions)
        return _Run(text, templates, functions, Data(dict(environ)), source).result()
    except TemplateSyntaxError as error:
        raise ConfigError(f"template: frp:{error.line}: {error.reason}\n  in {source}: line {error.line}") from None
    except RecursionError:
        raise ConfigError(f"template: frp:1: nested too deeply\n  in {source}") from None


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Run:
    def __init__(self, text: str, templates: dict[str, list[Node]], functions: dict[str, Builtin], data: Data, source: str) -> None:
        self._text = text
        self._templates = templates
        self._functions = functions
        self._source = source
        self._data = data
        self._name = "frp"
        self._variables: list[list[Any]] = [["$", data]]
        self._written: list[str] = []
        self._room = _LARGEST
        self._rounds = 0
        self._depth = 0

    def result(self) -> str:
        self._walk(self._templates["frp"], self._data)
        return "".join(self._written)

    def _fail(self, node: Node, reason: str) -> NoReturn:
        before = self._text[: node.pos]
        line = before.count("\n") + 1
        column = len(before[before.rfind("\n") + 1 :].encode("utf-8", "surrogateescape"))
        where = f"\n  in {self._source}: line {line}, column {column + 1}"
        raise ConfigError(f"template: frp:{line}:{column}: executing {quote(self._name)} at <{node}>: {reason}{where}")

    def _write(self, node: Node, text: str) -> None:
        self._spend(node, text)
        self._written.append(text)

    def _spend(self, node: Node, made: str | list[Any]) -> None:
        self._room -= len(made)
        if self._room < 0:
            self._fail(node, "the result is too long")

    # Nodes

    def _walk(self, nodes: list[Node], dot: Any) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self._write(node, node.text)
            elif isinstance(node, Action):
                value = self._pipeline(node.pipe, dot)
                if not node.pipe.variables:
                    self._write(node.pipe, sprint(value))
            elif isinstance(node, Branch):
                known = len(self._variables)
                self._branch(node, dot)
                del self._variables[known:]
            elif isinstance(node, Jump):
                raise _Break if node.word == "break" else _Continue
            elif isinstance(node, Call):
                self._call_template(node, dot)

    def _branch(self, node: Branch, dot: Any) -> None:
        if node.word == "range":
            self._range(node, dot)
            return
        value = self._pipeline(node.pipe, dot)
        if truth(value):
            self._walk(node.body, value if node.word == "with" else dot)
        else:
            self._walk(node.otherwise, dot)

    def _range(self, node: Branch, dot: Any) -> None:
        value = self._pipeline(node.pipe, dot, declare=False)
        names = node.pipe.variables
        known = len(self._variables)
        if not node.pipe.assigns:
            self._variables += [[name, value] for name in names]
        empty = True
        try:
            for key, item in self._items(node, value, names):
                empty = False
                self._count(node.pipe)
                mark = len(self._variables)
                if names:
                    self._set(names[0], key if len(names) > 1 else item)
                if len(names) > 1:
                    self._set(names[1], item)
                try:
                    self._walk(node.body, item)
                except _Continue:
                    pass
                finally:
                    del self._variables[mark:]
        except _Break:
            pass
        if empty:
            del self._variables[known:]
            self._walk(node.otherwise, dot)

    def _count(self, node: Node) -> None:
        self._rounds += 1
        if self._rounds > _LONGEST:
            self._fail(node, "too many rounds and calls")

    def _items(self, node: Branch, value: Any, names: list[str]) -> Iterator[tuple[Any, Any]]:
        if isinstance(value, list):
            yield from enumerate(value)
        elif isinstance(value, dict):
            yield from sorted(value.items())
        elif isinstance(value, int) and not isinstance(value, bool):
            if len(names) > 1:
                self._fail(node.pipe, f"can't use {value} to iterate over more than one variable")
            yield from ((i, i) for i in range(value))
        elif value is not MISSING:
            self._fail(node.pipe, f"range can't iterate over {plain(value)}")

    def _call_template(self, node: Call, dot: Any) -> None:
        if node.name not in self._templates:
            self._fail(node, f"template {quote(node.name)} not defined")
        if self._depth == _DEEPEST:
            self._fail(node, "exceeded maximum template depth")
        self._count(node)
        argument = None if node.pipe is None else self._pipeline(node.pipe, dot)
        outer = self._variables, self._name
        self._variables, self._name = [["$", argument]], node.name
        self._depth += 1
        self._walk(self._templates[node.name], argument)
        self._depth -= 1
        self._variables, self._name = outer

    def _set(self, name: str, value: Any) -> None:
        for variable in reversed(self._variables):
            if variable[0] == name:
                variable[1] = value
                return

    # Values

    def _pipeline(self, pipe: Pipe, dot: Any, *, declare: bool = True) -> Any:
        value: Any = _NOTHING
        for command in pipe.commands:
            value = self._command(command, dot, value)
        if declare:
            for name in pipe.variables:
                if pipe.assigns:
                    self._set(name, value)
                else:
                    self._variables.append([name, value])
        return value

    def _command(self, command: Command, dot: Any, final: Any) -> Any:
        first = command.args[0]
        if isinstance(first, Function):
            return self._call(first, command, command.args[1:], dot, final)
        if isinstance(first, Field | Variable | Chain):
            return self._operand(first, dot, given=len(command.args) > 1 or final is not _NOTHING)
        if len(command.args) > 1 or final is not _NOTHING:
            self._fail(first, f"can't give argument to non-function {first}")
        if isinstance(first, Literal) and first.value is None:
            self._fail(first, "nil is not a command")
        return self._operand(first, dot)

    def _operand(self, node: Node, dot: Any, *, given: bool = False) -> Any:
        """Return a node's value; `given`: it stands where a function would get arguments."""
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, Pipe):
            return self._pipeline(node, dot)
        if isinstance(node, Function):
            return self._call(node, node, [], dot, _NOTHING)
        names: list[str] = []
        value = dot
        if isinstance(node, Variable):
            for held in reversed(self._variables):
                if held[0] == node.name:
                    value = held[1]
                    break
            else:  # it is declared by the very pipeline that asks for it
                self._fail(node, f"undefined variable: {node.name}")
            names = node.names
        elif isinstance(node, Chain):
            value, names = self._operand(node.of, dot), node.names
        elif isinstance(node, Field):
            names = node.names
        if given and not names:
            self._fail(node, f"can't give argument to non-function {node}")
        for i, name in enumerate(names):
            value = self._field(value, name, node, given and i == len(names) - 1)
        return value

    def _field(self, value: Any, name: str, node: Node, given: bool) -> Any:
        found: Any = _NOTHING
        if value is MISSING:
            return MISSING
        if isinstance(value, dict):
            found = value.get(name, MISSING)
        elif (isinstance(value, Data) and name == "Envs") or (isinstance(value, NumberPair) and name in NumberPair._fields):
            found = getattr(value, name)
        if value is None:
            self._fail(node, f"nil data; no entry for key {quote(name)}")
        if found is _NOTHING:
            self._fail(node, f"can't evaluate field {name} in type {type_name(value)}")
        if given:
            what = "is not a method but has arguments" if isinstance(value, dict) else "has arguments but cannot be invoked as function"
            self._fail(node, f"{name} {what}")
        return found

    def _call(self, function: Function, node: Node, args: list[Node], dot: Any, final: Any) -> Any:
        name = function.name
        builtin = self._functions[name]
        count = len(args) + (final is not _NOTHING)
        if builtin.most < 0 and count < builtin.least:
            self._fail(function, f"wrong number of args for {name}: want at least {builtin.least} got {count}")
        if builtin.most >= 0 and count != builtin.most:
            self._fail(function, f"wrong number of args for {name}: want {builtin.most} got {count}")
        if name in ("and", "or"):
            return self._first(args, dot, final, stop_at=name == "or")
        values = []
        for i, arg in enumerate(args):
            values.append(self._string(arg, dot) if i < builtin.strings else self._operand(arg, dot))
        if final is not _NOTHING:
            if len(values) < builtin.strings and not isinstance(final, str):
                self._fail(
                    node,
                    "invalid value; expected string"
                    if final is MISSING
                    else f"wrong type for value; expected string; got {type_name(final)}",
                )
            values.append(final)
        try:
            made = builtin.call(*values)
        except ValueError as error:
            self._fail(node, f"error calling {name}: {error}")
        if isinstance(made, str | list):
            self._spend(node, made)  # also what isn't written: a variable could double with each round of a loop
        return made

    def _first(self, args: list[Node], dot: Any, final: Any, *, stop_at: bool) -> Any:
        """Return the first argument whose truth is `stop_at`, else the last one; those after it aren't looked at."""
        value: Any = None
        for value in chain((self._operand(arg, dot) for arg in args), () if final is _NOTHING else (final,)):
            if truth(value) is stop_at:
                break
        return value

    def _string(self, node: Node, dot: Any) -> Any:
        if isinstance(node, Literal):
            if not isinstance(node.value, str):
                self._fail(node, "cannot assign nil to string" if node.value is None else f"expected string; found {node}")
            return node.value
        value = self._operand(node, dot)
        if value is MISSING:
            self._fail(node, "invalid value; expected string")
        if not isinstance(value, str):
            self._fail(node, f"wrong type for value; expected string; got {type_name(value)}")
        return value
