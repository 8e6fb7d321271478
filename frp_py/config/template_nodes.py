"""The parts a template is parsed into; `str()` of one is how errors show it (config.md 1.9)."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Node:
    """Something at an offset of the template's text."""

    pos: int


@dataclass(slots=True)
class Text(Node):
    """Text outside actions."""

    text: str


@dataclass(slots=True)
class Literal(Node):
    """A constant: string, number, boolean or nil; `source` is how it was written."""

    value: Any
    source: str

    def __str__(self) -> str:
        return self.source


@dataclass(slots=True)
class Field(Node):
    """`.a.b`; no names: the dot."""

    names: list[str]

    def __str__(self) -> str:
        return "".join("." + name for name in self.names) or "."


@dataclass(slots=True)
class Variable(Node):
    """`$x.a.b`."""

    name: str
    names: list[str]

    def __str__(self) -> str:
        return ".".join([self.name, *self.names])


@dataclass(slots=True)
class Function(Node):
    """The name of a function."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(slots=True)
class Command(Node):
    """An operand, or a function and its arguments."""

    args: list[Node] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(f"({arg})" if isinstance(arg, Pipe) else str(arg) for arg in self.args)


@dataclass(slots=True)
class Pipe(Node):
    """Commands, each the last argument of the next, and the variables that get the result."""

    variables: list[str] = field(default_factory=list)
    assigns: bool = False
    commands: list[Command] = field(default_factory=list)

    def __str__(self) -> str:
        target = f"{', '.join(self.variables)} {'=' if self.assigns else ':='} " if self.variables else ""
        return target + " | ".join(map(str, self.commands))


@dataclass(slots=True)
class Chain(Node):
    """Fields of the value of a pipeline in parentheses."""

    of: Node
    names: list[str]

    def __str__(self) -> str:
        of = f"({self.of})" if isinstance(self.of, Pipe) else str(self.of)
        return ".".join([of, *self.names])


@dataclass(slots=True)
class Action(Node):
    """A pipeline whose value is printed."""

    pipe: Pipe


@dataclass(slots=True)
class Branch(Node):
    """`if`, `with` or `range`."""

    word: str
    pipe: Pipe
    body: list[Node]
    otherwise: list[Node]


@dataclass(slots=True)
class Jump(Node):
    """`break` or `continue`."""

    word: str


@dataclass(slots=True)
class Call(Node):
    """Another template, and the dot it gets."""

    name: str
    pipe: Pipe | None

    def __str__(self) -> str:
        from .gotext import quote

        return f"{{{{template {quote(self.name)}{f' {self.pipe}' if self.pipe else ''}}}}}"
