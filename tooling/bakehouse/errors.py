"""The one family of errors: a kind for programs, a sentence for people, and what to do next."""

EXIT_CODES = {
    "unexpected": 1,  # anything not named below
    "usage": 2,
    "pending": 3,  # `migrate status --check` found work
    "drift": 4,  # history, files or schema disagree
    "gate": 5,  # the environment refuses
    "lint": 6,  # a file is not acceptable
    "failed": 7,  # rolled back; the database is as before that file
    "partial": 8,  # a file without a transaction stopped midway; `migrate up` resumes it
    "smoke": 9,  # applied, but the smoke walk failed
    "busy": 10,  # a lock was not to be had; safe to retry
    "identity": 11,  # the database is not marked, or is marked as something else
}


class BakehouseError(Exception):
    """Something that stops a command: what happened, why, and what to do about it."""

    def __init__(self, kind: str, message: str, hint: str = "", **facts: object) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.facts = facts

    @property
    def exit_code(self) -> int:
        return EXIT_CODES.get(self.kind, 1)
