"""Cutting Go's text templates into tokens (config.md 1.9)."""

import re
from typing import NamedTuple

from .gotext import quote

_WORDS = frozenset(["block", "break", "continue", "define", "else", "end", "if", "range", "nil", "template", "with"])
_SPACE = " \t\r\n"
_ALNUM = re.compile(r"\w*")
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?|0[oO][0-7_]*|0[bB][01_]*"
    r"|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)"
)
_STRING = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')
_CHAR = re.compile(r"'(?:[^'\\\n]|\\[^\n])*'")


class Token(NamedTuple):
    """A piece of a template; of kind error, its text is the reason."""

    kind: str  # text open close eof error space word name field variable dot string raw char number bool ( ) | = := ,
    text: str
    pos: int


class Lexer:
    """Finds the tokens of a text; the last one is of kind eof or error."""

    def __init__(self, text: str) -> None:
        self._text = text

    def tokens(self) -> list[Token]:
        """Return all tokens."""
        text, pos, found = self._text, 0, []
        trim = False
        while True:
            start = text.find("{{", pos)
            chunk = text[pos:] if start < 0 else text[pos:start]
            begin = pos
            if trim:
                stripped = chunk.lstrip(_SPACE)
                begin += len(chunk) - len(stripped)
                chunk = stripped
            left = start + 2
            trims_left = start >= 0 and text[left : left + 1] == "-" and text[left + 1 : left + 2] in tuple(_SPACE)
            if trims_left:
                chunk = chunk.rstrip(_SPACE)
                left += 2
            if chunk:
                found.append(Token("text", chunk, begin))
            if start < 0:
                return [*found, Token("eof", "", len(text))]
            if text.startswith("/*", left):
                pos, trim, error = self._comment(left)
                if error:
                    return [*found, error]
                continue
            found.append(Token("open", "{{", start))
            pos, trim = self._action(left, found)
            if found[-1].kind == "error":
                return found

    def _comment(self, left: int) -> tuple[int, bool, Token | None]:
        text = self._text
        end = text.find("*/", left + 2)
        if end < 0:
            return 0, False, Token("error", "unclosed comment", left)
        end += 2
        if text.startswith("}}", end):
            return end + 2, False, None
        if text[end : end + 1] in tuple(_SPACE) and text.startswith("-}}", end + 1):
            return end + 4, True, None
        return 0, False, Token("error", "comment ends before closing delimiter", left)

    def _action(self, pos: int, found: list[Token]) -> tuple[int, bool]:
        """Add the tokens of an action; return where it ends and whether white space after it is cut."""
        text, depth = self._text, 0
        while True:
            trims = text[pos : pos + 1] in tuple(_SPACE) and text.startswith("-}}", pos + 1)
            if trims or text.startswith("}}", pos):
                if depth:
                    found.append(Token("error", "unclosed left paren", pos))
                    return pos, False
                found.append(Token("close", "}}", pos))
                return pos + (4 if trims else 2), trims
            token = self._token(pos)
            found.append(token)
            if token.kind == "error":
                return pos, False
            depth += {"(": 1, ")": -1}.get(token.kind, 0)
            if depth < 0:
                found[-1] = Token("error", "unexpected right paren", pos)
                return pos, False
            pos += len(token.text)

    def _token(self, pos: int) -> Token:
        text = self._text
        char = text[pos : pos + 1]
        if not char:
            return Token("error", "unclosed action", pos)
        if char in _SPACE:
            end = pos
            while text[end : end + 1] in tuple(_SPACE) and not text.startswith("-}}", end + 1):
                end += 1
            return Token("space", text[pos : max(end, pos + 1)], pos)
        if char == ":" and text[pos + 1 : pos + 2] == "=":
            return Token(":=", ":=", pos)
        if char == ":":
            return Token("error", "expected :=", pos)
        if char in "=|(),":
            return Token(char, char, pos)
        if char == '"':
            match = _STRING.match(text, pos)
            return Token("string", match[0], pos) if match else Token("error", "unterminated quoted string", pos)
        if char == "`":
            end = text.find("`", pos + 1)
            return Token("raw", text[pos : end + 1], pos) if end >= 0 else Token("error", "unterminated raw quoted string", pos)
        if char == "'":
            match = _CHAR.match(text, pos)
            return Token("char", match[0], pos) if match else Token("error", "unterminated character constant", pos)
        if char == "$":
            return self._word(pos, "variable")
        if char == "." and not text[pos + 1 : pos + 2].isdigit():
            return self._word(pos, "field")
        if char in "+-." or char.isdigit():
            return self._number(pos)
        if char == "_" or char.isalnum():
            return self._word(pos, "name")
        return Token("error", f"unrecognized character in action: {_code_point(char)}", pos)

    def _word(self, pos: int, kind: str) -> Token:
        match = _ALNUM.match(self._text, pos + (kind != "name"))
        assert match
        end = match.end()
        follows = self._text[end : end + 1]
        word = self._text[pos:end]
        if follows and follows not in " \t\r\n.,|:=)(" and not self._text.startswith("}}", end):
            return Token("error", f"bad character {_code_point(follows)}", end)
        if word == ".":
            return Token("dot", ".", pos)
        if kind == "name":
            kind = "word" if word in _WORDS else "bool" if word in ("true", "false") else "name"
        return Token(kind, word, pos)

    def _number(self, pos: int) -> Token:
        match = _NUMBER.match(self._text, pos)
        assert match
        end = match.end()
        rest = _ALNUM.match(self._text, end)
        if (rest and rest[0]) or not any(char.isdigit() for char in match[0]):
            stop = (rest.end() if rest else end) if rest and rest[0] else end + 1
            return Token("error", f"bad number syntax: {quote(self._text[pos : min(stop, end + 1)])}", pos)
        return Token("number", match[0], pos)


def _code_point(char: str) -> str:
    return f"U+{ord(char):04X}" + (f" '{char}'" if char.isprintable() else "")
