"""Parsing Go's text templates (config.md 1.9)."""

import re
from collections.abc import Collection
from typing import NoReturn

from .gotext import parse_number, quote
from .template_lex import Lexer, Token
from .template_nodes import Action, Branch, Call, Chain, Command, Field, Function, Jump, Literal, Node, Pipe, Text, Variable

_SIMPLE_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'"}
_ESCAPE = re.compile(r"""\\(?:([abfnrtv\\"'])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))""")


class TemplateSyntaxError(Exception):
    """A template can't be parsed: the reason, and the line it was found in."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


def parse_template(text: str, functions: Collection[str]) -> dict[str, list[Node]]:
    """Return the templates in `text` by name; the text itself is `frp`. Raises TemplateSyntaxError."""
    return _Parser(text, functions).templates()


class _Parser:
    def __init__(self, text: str, functions: Collection[str]) -> None:
        self._text = text
        self._functions = functions
        self._tokens = Lexer(text).tokens()
        self._next = 0
        self._variables = ["$"]
        self._ranges = 0
        self._action_line = 0
        self._templates: dict[str, list[Node]] = {}

    def templates(self) -> dict[str, list[Node]]:
        body: list[Node] = []
        while (token := self._peek()).kind != "eof":
            if token.kind == "open" and self._word_after() == "define":
                self._definition()
            else:
                node, _ = self._text_or_action()
                if isinstance(node, str):
                    self._fail(f"unexpected {{{{{node}}}}}", at=self._last)
                body.append(node)
        self._templates["frp"] = body
        return self._templates

    # Tokens

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._last = self._tokens[self._next]
        if token.kind not in ("eof", "error"):
            self._next += 1
        return token

    def _skip_space(self) -> Token:
        while self._peek().kind == "space":
            self._next += 1
        return self._peek()

    def _take_solid(self) -> Token:
        self._skip_space()
        return self._take()

    def _word_after(self) -> str:
        at = self._next + 1
        while self._tokens[at].kind == "space":
            at += 1
        return self._tokens[at].text

    def _line(self, pos: int) -> int:
        return self._text.count("\n", 0, pos) + 1

    def _fail(self, reason: str, at: Token | None = None) -> NoReturn:
        raise TemplateSyntaxError(reason, self._line((at or self._last).pos))

    def _unexpected(self, token: Token, context: str) -> NoReturn:
        if token.kind == "error":
            line, reason = self._line(token.pos), token.text
            if self._action_line not in (0, line):
                reason += f"{'' if reason.endswith(' action') else ' in action'} started at frp:{self._action_line}"
            self._fail(reason, token)
        if token.kind == "eof":
            shown = "EOF"
        elif token.kind == "word":
            shown = f"<{token.text}>"
        else:
            shown = quote(token.text[:10]) + ("..." if len(token.text) > 10 else "")
        self._fail(f"unexpected {shown} in {context}" if context else f"unexpected {shown}", token)

    def _expect(self, kind: str, context: str) -> Token:
        token = self._take_solid()
        if token.kind != kind:
            self._unexpected(token, context)
        return token

    # Structure

    def _text_or_action(self) -> tuple[Node | str, int]:
        """Return a node, or the word `end` or `else` that closes a list."""
        token = self._take()
        if token.kind == "text":
            return Text(token.pos, token.text), token.pos
        if token.kind != "open":
            if token.kind == "eof":
                self._fail("unexpected EOF", token)
            self._unexpected(token, "input")
        self._action_line = self._line(token.pos)
        try:
            return self._action(), token.pos
        finally:
            self._action_line = 0

    def _action(self) -> Node | str:
        token = self._skip_space()
        if token.kind != "word" or token.text == "nil":
            pipe = self._pipeline("command", "close")
            return Action(token.pos, pipe)
        self._take()
        word = token.text
        if word == "end":
            self._expect("close", "end")
            return "end"
        if word == "else":
            after = self._skip_space()
            if after.kind == "word" and after.text in ("if", "with"):
                return "else"
            self._expect("close", "else")
            return "else"
        if word in ("if", "with", "range"):
            return self._branch(word, token.pos)
        if word in ("break", "continue"):
            self._expect("close", f"{{{{{word}}}}}")
            if not self._ranges:
                self._fail(f"{{{{{word}}}}} outside {{{{range}}}}", token)
            return Jump(token.pos, word)
        if word in ("template", "block"):
            return self._call(token)
        return self._unexpected(token, "command")

    def _list(self) -> tuple[list[Node], str]:
        nodes: list[Node] = []
        while True:
            if self._peek().kind == "eof":
                self._fail("unexpected EOF", self._peek())
            node, _ = self._text_or_action()
            if isinstance(node, str):
                return nodes, node
            nodes.append(node)

    def _branch(self, word: str, pos: int) -> Branch:
        known = len(self._variables)
        pipe = self._pipeline(word, "close")
        self._ranges += word == "range"
        body, ending = self._list()
        self._ranges -= word == "range"
        otherwise: list[Node] = []
        if ending == "else":
            after = self._skip_space()
            if after.kind == "word" and self._last.kind != "close":
                if after.text != word or word == "range":
                    self._unexpected(after, "else")
                self._take()
                otherwise = [self._branch(word, after.pos)]
            else:
                otherwise, ending = self._list()
                if ending != "end":
                    self._fail("expected end; found {{else}}")
        del self._variables[known:]
        return Branch(pos, word, pipe, body, otherwise)

    def _definition(self) -> None:
        self._take()
        self._take_solid()
        name = self._name("define clause")
        self._expect("close", "define clause")
        self._define(name)

    def _define(self, name: str) -> None:
        outer, self._variables = self._variables, ["$"]
        ranges, self._ranges = self._ranges, 0
        body, ending = self._list()
        if ending != "end":
            self._fail(f"unexpected {{{{{ending}}}}} in define clause")
        self._variables, self._ranges = outer, ranges
        self._templates[name] = body

    def _name(self, context: str) -> str:
        token = self._take_solid()
        if token.kind not in ("string", "raw"):
            self._unexpected(token, context)
        return self._string(token)

    def _call(self, token: Token) -> Call:
        context = f"{token.text} clause"
        name = self._name(context)
        pipe = None
        if self._skip_space().kind == "close" and token.text == "template":
            self._take()
        else:
            pipe = self._pipeline(context, "close")
        if token.text == "block":
            self._define(name)
        return Call(token.pos, name, pipe)

    # Pipelines

    def _pipeline(self, context: str, end: str) -> Pipe:
        token = self._skip_space()
        pipe = Pipe(token.pos)
        self._declarations(pipe, context)
        while True:
            token = self._skip_space()
            if token.kind == end:
                self._take()
                self._check(pipe, context)
                return pipe
            if token.kind in ("bool", "char", "dot", "field", "name", "number", "raw", "string", "variable", "(") or token.text == "nil":
                pipe.commands.append(self._command())
            else:
                self._unexpected(self._take(), context)

    def _declarations(self, pipe: Pipe, context: str) -> None:
        while self._skip_space().kind == "variable":
            back, variable = self._next, self._take()
            token = self._skip_space()
            if token.kind in (":=", "="):
                self._take()
                pipe.assigns = token.kind == "="
                pipe.variables.append(variable.text)
                break
            if token.kind == "," and context == "range":
                self._take()
                pipe.variables.append(variable.text)
                if self._skip_space().kind == "variable" and len(pipe.variables) < 2:
                    continue
                self._fail(
                    "range can only initialize variables" if len(pipe.variables) < 2 else f"too many declarations in {context}",
                    self._peek(),
                )
            self._next = back
            break
        if pipe.assigns:
            for name in pipe.variables:
                self._known(name, pipe.pos)
        else:
            self._variables += pipe.variables

    def _check(self, pipe: Pipe, context: str) -> None:
        if not pipe.commands:
            self._fail(f"missing value for {context}")
        for i, command in enumerate(pipe.commands[1:], 2):
            if isinstance(command.args[0], Literal) or (isinstance(command.args[0], Field) and not command.args[0].names):
                self._fail(f"non executable command in pipeline stage {i}")

    def _command(self) -> Command:
        command = Command(self._peek().pos)
        while True:
            self._skip_space()
            operand = self._operand()
            if operand is not None:
                command.args.append(operand)
            token = self._take()
            if token.kind == "space":
                continue
            if token.kind in ("close", ")"):
                self._next -= 1
            elif token.kind != "|":
                self._unexpected(token, "operand")
            break
        if not command.args:
            self._fail("empty command")
        return command

    def _operand(self) -> Node | None:
        node = self._term()
        if node is None:
            return None
        token = self._peek()
        if token.kind != "field":
            return node
        names = []
        while self._peek().kind == "field":
            names.append(self._take().text[1:])
        if isinstance(node, Field):
            return Field(token.pos, node.names + names)
        if isinstance(node, Variable):
            return Variable(token.pos, node.name, node.names + names)
        if isinstance(node, Literal):
            self._fail(f"unexpected . after term {quote(str(node))}", token)
        return Chain(token.pos, node, names)

    def _term(self) -> Node | None:
        token = self._skip_space()
        if token.kind in ("close", ")", "|", "eof", "error", "space", ",", "=", ":=") or (token.kind == "word" and token.text != "nil"):
            return None
        self._take()
        kind, text, pos = token.kind, token.text, token.pos
        if kind == "(":
            return self._pipeline("parenthesized pipeline", ")")
        if kind == "name":
            if text not in self._functions:
                self._fail(f"function {quote(text)} not defined", token)
            return Function(pos, text)
        if kind == "variable":
            self._known(text, pos)
            return Variable(pos, text, [])
        if kind == "dot":
            return Field(pos, [])
        if kind == "field":
            return Field(pos, [text[1:]])
        if kind in ("string", "raw"):
            return Literal(pos, self._string(token), text)
        if kind == "bool":
            return Literal(pos, text == "true", text)
        if kind == "word":
            return Literal(pos, None, "nil")
        return Literal(pos, self._number(token), text)

    def _known(self, name: str, pos: int) -> None:
        if name not in self._variables:
            raise TemplateSyntaxError(f"undefined variable {quote(name)}", self._line(pos))

    def _string(self, token: Token) -> str:
        if token.kind == "raw":
            return token.text[1:-1].replace("\r", "")
        return self._unescaped(token)

    def _unescaped(self, token: Token) -> str:
        body = token.text[1:-1]
        if "\\" not in body:
            return body
        if "\\" in _ESCAPE.sub("", body):
            self._fail("invalid syntax" if token.kind == "string" else f"malformed character constant: {token.text}", token)
        return _ESCAPE.sub(_unescape, body)

    def _number(self, token: Token) -> int | float:
        text = token.text
        if token.kind == "char":
            char = self._unescaped(token)
            if len(char) != 1:
                self._fail(f"malformed character constant: {text}", token)
            return ord(char)
        value = parse_number(text)
        if value is None:
            self._fail(f"illegal number syntax: {quote(text)}", token)
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            self._fail(f"integer overflow: {quote(text)}", token)
        return value


def _unescape(match: re.Match[str]) -> str:
    simple, *codes = match.groups()
    if simple:
        return _SIMPLE_ESCAPES[simple]
    byte, short, long, octal = codes
    if byte or octal:
        code = int(byte, 16) if byte else int(octal, 8) & 0xFF
        return chr(code) if code < 0x80 else chr(0xDC00 + code)
    code = int(short or long, 16)
    return chr(code) if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else "\ufffd"
