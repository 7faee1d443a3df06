"""SQL as text: cut a file into statements, and say whether two texts are the same SQL."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

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


class SqlTextError(ValueError):
    """The text cannot be cut into statements; `offset` says where it goes wrong."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message


@dataclass(frozen=True)
class Statement:
    text: str  # without the semicolon, with the comments before it
    offset: int  # of `text` in the file
    start: int  # of the first word in the file, behind those comments
    words: tuple[str, ...]  # unquoted words, lower case
    tokens: tuple[str, ...]  # everything but space and comments, words in lower case

    def begins(self, *words: str) -> bool:
        return self.words[: len(words)] == words


def split(text: str) -> list[Statement]:
    """The statements of a file, as psql would cut it."""
    statements: list[Statement] = []
    offset, start, depth, atomic = 0, -1, 0, 0
    words: list[str] = []
    tokens: list[str] = []

    def cut(end: int) -> None:
        nonlocal offset, start, words, tokens
        raw = text[offset:end]
        body = raw.strip()
        if tokens:
            at = offset + raw.index(body)
            statements.append(Statement(body, at, start, tuple(words), tuple(tokens)))
        offset, start, words, tokens = end + 1, -1, [], []

    for kind, token, at in _tokens(text):
        if kind == "word":
            word = token.lower()
            # a body in plain SQL: `begin atomic ... end` holds semicolons of its own
            if word == "atomic" and words[-1:] == ["begin"]:
                atomic = 1
            elif atomic and word == "case":
                atomic += 1
            elif atomic and word == "end":
                atomic -= 1
            words.append(word)
            token = word
        elif token == "(":
            depth += 1
        elif token == ")":
            depth -= 1
        elif token == ";" and depth <= 0 and not atomic:
            cut(at)
            depth = 0
            continue
        elif token == "\\":
            raise SqlTextError(at, "a psql meta-command: only SQL can be applied")
        if start < 0:
            start = at
        tokens.append(token)
    cut(len(text))
    return statements


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Kind, text and place of everything but space and comments."""
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


def opens(statement: Statement) -> bool:
    """A plain `begin`, the first half of the one pair a file may have."""
    return statement.words in {
        ("begin",),
        ("begin", "work"),
        ("begin", "transaction"),
        ("start", "transaction"),
    } and len(statement.tokens) == len(statement.words)


def closes(statement: Statement) -> bool:
    """A plain `commit`, the second half."""
    return statement.words in {
        (end, *tail) for end in ("commit", "end") for tail in ((), ("work",), ("transaction",))
    } and len(statement.tokens) == len(statement.words)


def controls_transaction(statement: Statement) -> bool:
    """Any statement that starts, ends or divides a transaction."""
    first = statement.words[:1]
    if first and first[0] in {"begin", "commit", "end", "abort", "rollback", "savepoint"}:
        return True
    return first == ("release",) or statement.words[:2] in {
        ("start", "transaction"),
        ("prepare", "transaction"),
    }


def body(statements: list[Statement]) -> list[Statement]:
    """The statements without the one outer begin/commit pair."""
    if len(statements) >= 2 and opens(statements[0]) and closes(statements[-1]):
        return statements[1:-1]
    return statements


def sql_hash(statements: list[Statement]) -> str:
    """Equal for texts that differ only in comments, white space, or the case of words."""
    lines = ("\x1f".join(statement.tokens) for statement in body(statements))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def byte_hash(text: str) -> str:
    """Equal for texts that differ only in their line ends."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def place(text: str, offset: int) -> tuple[int, int, str]:
    """Line and column (from 1) of an offset, and the text of that line."""
    before = text[:offset]
    first = before.rfind("\n") + 1
    last = text.find("\n", offset)
    return before.count("\n") + 1, offset - first + 1, text[first : last if last >= 0 else None]
