"""SQL as text: split a file into statements, and compare two texts as SQL."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*')
  | (?P<word>[^\W\d][\w$]*)
  | (?P<comment>--[^\n]*)
  | (?P<block>/\*)
  | (?P<name>"(?:[^"]|"")*")
  | (?P<dollar>\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
  | (?P<number>\d[\w.]*)
  | (?P<open>'|"|\$(?:[^\W\d]\w*)?\$)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")
_CONTROL = re.compile(
    r"(?P<opens>(?:begin(?: work| transaction)?|start transaction)$)"
    r"|(?P<closes>(?:commit|end)(?: work| transaction)?$)"
    r"|(?P<divides>(?:begin|commit|end|abort|rollback|savepoint|release)\b"
    r"|(?:start|prepare) transaction\b)"
)


class SqlTextError(ValueError):
    """A text that cannot be split into statements. `offset` is the place of the problem."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message


@dataclass(frozen=True)
class Statement:
    text: str  # with the comments before it, without the semicolon
    offset: int  # where `text` begins in the file
    start: int  # where its first word begins in the file
    tokens: tuple[str, ...]  # all but space and comments, with words in lower case

    @property
    def words(self) -> list[str]:
        """The unquoted words, in lower case."""
        return list(filter(str.isidentifier, self.tokens))

    @property
    def line(self) -> str:
        """The SQL on one line, without comments."""
        return " ".join(self.tokens)

    @property
    def control(self) -> str | None:
        """How the statement controls the transaction: it opens, closes or divides one."""
        match = _CONTROL.match(self.line)
        return match and match.lastgroup


def split(text: str) -> list[Statement]:
    """Split a file into statements, as psql does."""
    statements: list[Statement] = []
    tokens: list[str] = []
    offset = start = depth = atomic = 0
    for kind, token, at in chain(_tokens(text), [("end", "", len(text))]):
        if kind == "end" or (token == ";" and depth <= 0 and not atomic):
            if tokens:
                body = text[offset:at].strip()
                place = text.index(body, offset)
                statements.append(Statement(body, place, start, tuple(tokens)))
            tokens, offset, depth = [], at + 1, 0
            continue
        if kind == "word":
            token = token.lower()
            atomic = _atomic_depth(token, tokens, atomic)
        elif token == "(":
            depth += 1
        elif token == ")":
            depth -= 1
        elif token == "\\":
            raise SqlTextError(at, "a psql meta-command: only SQL can be applied")
        start = start if tokens else at
        tokens.append(token)
    return statements


def _atomic_depth(word: str, before: list[str], depth: int) -> int:
    """Count the nesting in `begin atomic ... end`. A semicolon inside ends no statement."""
    if word == "atomic" and before[-1:] == ["begin"]:
        return 1
    if depth and word == "case":
        return depth + 1
    if depth and word == "end":
        return depth - 1
    return depth


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield kind, text and place of every token, without space and comments."""
    at = 0
    while at < len(text):
        for match in _TOKEN.finditer(text, at):
            kind = match.lastgroup
            if kind == "space" or kind == "comment":
                continue
            if kind == "block":
                at = _block_end(text, match.start())
                break
            if kind == "open":
                raise SqlTextError(match.start(), f"this {match[0]} is never closed")
            yield str(kind), match[0], match.start()
        else:
            return


def _block_end(text: str, start: int) -> int:
    depth = 0
    for edge in _BLOCK_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    raise SqlTextError(start, "this /* is never closed")


def body(statements: list[Statement]) -> list[Statement]:
    """Return the statements without the outer begin/commit pair."""
    if statements and (statements[0].control, statements[-1].control) == ("opens", "closes"):
        return statements[1:-1]
    return statements


def sql_hash(statements: list[Statement]) -> str:
    """Hash the SQL. Ignores comments, white space and the case of words."""
    lines = ("\x1f".join(statement.tokens) for statement in body(statements))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def byte_hash(text: str) -> str:
    """Hash the text. Treats all kinds of line ends alike."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def place(text: str, offset: int) -> tuple[int, int, str]:
    """Return line and column (from 1) of an offset, and the text of that line."""
    before = text[:offset]
    first = before.rfind("\n") + 1
    last = text.find("\n", offset)
    return before.count("\n") + 1, offset - first + 1, text[first : last if last >= 0 else None]


def diff(before: str, after: str, was: str = "", now: str = "") -> list[str]:
    """Return the lines that differ, and some around them. The texts can have names."""
    import difflib  # imported here, because most commands start faster without it

    lines = before.splitlines(), after.splitlines()
    return list(difflib.unified_diff(*lines, was, now, lineterm=""))
