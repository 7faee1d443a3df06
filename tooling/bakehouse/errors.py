"""Errors of commands: a kind for programs, a sentence for people, and the next step."""

from dataclasses import dataclass
from typing import Literal

ExitKind = (
    Literal["unexpected", "usage", "pending", "drift", "gate", "lint", "failed", "partial"]
    | Literal["smoke", "busy", "identity"]
)
Kind = (
    ExitKind
    | Literal["connection", "server", "pooler", "backup", "binaries", "account", "unsafe", "owner"]
    | Literal["unwritable", "start", "stop", "data", "version", "port", "disk"]
)


@dataclass(frozen=True)
class Exit:
    kind: ExitKind
    code: int
    meaning: str


EXITS = (
    Exit("unexpected", 1, "any other failure, which its kind names"),
    Exit("usage", 2, "the command line or a setting is wrong"),
    Exit("pending", 3, "`migrate status --check` found files that are not applied"),
    Exit("drift", 4, "the files, the history, the database or a generated page differ"),
    Exit("gate", 5, "the environment refuses; nothing was run"),
    Exit("lint", 6, "a file breaks a rule; nothing was run"),
    Exit("failed", 7, "a file failed and was rolled back; files before it are applied"),
    Exit("partial", 8, "a file without a transaction stopped midway; `migrate up` resumes it"),
    Exit("smoke", 9, "the files are applied, but the smoke walk failed"),
    Exit("busy", 10, "could not get a lock; it is safe to try again"),
    Exit("identity", 11, "the database is not marked, or is marked as another environment"),
)
EXIT_CODES: dict[str, int] = {exit.kind: exit.code for exit in EXITS}


class BakehouseError(Exception):
    """Stops a command: says what happened, why, and what to do next."""

    def __init__(self, kind: Kind, message: str, hint: str = "", **facts: object) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.facts = facts

    @property
    def exit_code(self) -> int:
        return EXIT_CODES.get(self.kind, EXIT_CODES["unexpected"])
