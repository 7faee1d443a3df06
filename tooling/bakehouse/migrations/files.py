"""Find, check and create migration files. Needs no connection."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from bakehouse.errors import BakehouseError
from bakehouse.migrations import sqltext

_NAME = re.compile(r"(\d{14})_((?:M|V)\d+)_([a-z0-9_]+)\.sql")
_MILESTONE = re.compile(r"[MV]\d+")
_NEEDS = re.compile(r"^--\s*Needs:(.*)$", re.MULTILINE)
_AS_OWNER = "set local role bakehouse_owner;\n"
_ALONE = re.compile(  # Postgres refuses these statements inside a transaction
    r"(create|drop) (database|tablespace|subscription)\b|alter system\b|vacuum\b|cluster$"
    r"|reindex (database|system)\b|reindex .*\bconcurrently\b"
    r"|(create|create unique|drop) index concurrently\b"
    r"|alter table .*\bdetach\b.*\bconcurrently\b"
)


@dataclass(frozen=True)
class Migration:
    version: str
    name: str
    path: Path
    text: str

    @property
    def milestone(self) -> str:
        return self.name.partition("_")[0]

    @property
    def label(self) -> str:
        return f"{self.version}_{self.name}"

    @cached_property
    def needs(self) -> frozenset[str]:
        lines = _NEEDS.findall(self.text)
        return frozenset(_MILESTONE.findall(" ".join(lines))) - {self.milestone}

    @cached_property
    def statements(self) -> list[sqltext.Statement]:
        return sqltext.split(self.text)

    @cached_property
    def body(self) -> list[sqltext.Statement]:
        return sqltext.body(self.statements)

    @property
    def span(self) -> tuple[int, int]:
        """Where the body begins and ends in the text."""
        if not self.body:
            return 0, 0
        last = self.body[-1]
        return self.body[0].offset, last.offset + len(last.text)

    def place(self, offset: int) -> str:
        """Return file:line of an offset in the text."""
        return f"{self.path.name}:{sqltext.place(self.text, offset)[0]}"

    @cached_property
    def transactional(self) -> bool:
        return not any(runs_alone(statement) for statement in self.body)

    @cached_property
    def sql_hash(self) -> str:
        return sqltext.sql_hash(self.statements)

    @cached_property
    def byte_hash(self) -> str:
        return sqltext.byte_hash(self.text)


def sql_script(path: Path) -> Migration:
    """Read an SQL file, also one that is no migration, such as a down script or the seed."""
    version, _, name = path.stem.partition("_")
    text = path.read_text("utf-8-sig")  # which reads all kinds of line ends alike
    return Migration(version, name, path, text)


def runs_alone(statement: sqltext.Statement) -> bool:
    """Check if Postgres refuses the statement inside a transaction."""
    return bool(_ALONE.match(" ".join(statement.words)))


def discover(folder: Path) -> list[Migration]:
    """Return every migration in order of version. An error names all problems at once."""
    if not folder.is_dir():
        raise BakehouseError(
            "usage",
            f"there is no folder {folder}",
            "Run in a project (a folder that holds supabase/migrations), or name it: --project.",
        )
    findings: list[str] = []
    found: list[Migration] = []
    for path in sorted(folder.iterdir()):
        read = _read(path)
        if isinstance(read, str):
            findings.append(f"{path.name}:1: {read}")
        elif read:
            found.append(read)
    for first, second in pairwise(found):
        if first.version == second.version:
            taken = f"version {second.version} is taken by {first.path.name}"
            findings.append(f"{second.place(0)}: {taken}")
    milestones = {migration.milestone for migration in found}
    for migration in found:
        findings += _findings(migration, milestones)
    if findings:
        hint = "Nothing was run. Fix the files and try again."
        raise BakehouseError("lint", "\n".join(findings), hint, findings=findings)
    return found


def _read(path: Path) -> Migration | str | None:
    """Return the migration, or the problem with the file, or None for a file of another kind."""
    if path.is_dir():
        return "a folder: files in it would be ignored" if any(path.rglob("*.sql")) else None
    if path.name.endswith(".down.sql"):
        return "a down script here would be applied as a migration: move it to supabase/down/"
    if path.suffix.lower() != ".sql":
        return None
    if not _NAME.fullmatch(path.name):
        return "not a migration's name: <14 digits>_<M or V and a number>_<concept>.sql, lower case"
    try:
        return sql_script(path)
    except UnicodeDecodeError as error:
        return f"not UTF-8 text (byte {error.start})"


def _findings(migration: Migration, milestones: Collection[str]) -> list[str]:
    found = _problems(migration, milestones)
    return [f"{migration.place(offset)}: {problem}" for offset, problem in found]


def _problems(migration: Migration, milestones: Collection[str]) -> Iterator[tuple[int, str]]:
    """Yield what is wrong with a file, and the offset of each problem."""
    for milestone in sorted(migration.needs - set(milestones)):
        yield 0, f"needs {milestone}, but there is no such milestone"
    try:
        statements, body = migration.statements, migration.body
    except sqltext.SqlTextError as error:
        yield error.offset, error.message
        return
    for statement in body:
        if statement.control:
            yield statement.start, _transaction_problem(statement, statements)
        if statement.tokens[0] == "copy" and statement.tokens[-2:] == ("from", "stdin"):
            yield statement.start, "copy from stdin has no data here"
        if not (migration.transactional or runs_alone(statement)):
            yield statement.start, "shares a file with a statement that cannot run in a transaction"
    if not migration.transactional and body is not statements:
        yield 0, "begin and commit around a statement that cannot run in a transaction"


def _transaction_problem(statement: sqltext.Statement, statements: list[sqltext.Statement]) -> str:
    word = statement.tokens[0]
    if statement is statements[0] and statement.control == "opens":
        return f"this {word} has no commit at the end of the file"
    if statement is statements[-1] and statement.control == "closes":
        return f"this {word} has no begin at the start of the file"
    return f"a second transaction ({word}): a file is one transaction, from begin to commit"


def down_of(migration: Migration, folder: Path) -> Migration:
    """Return the down script of a migration: the file of the same name in the other folder."""
    path = folder / migration.path.name
    place = f"{folder.name}/{path.name}"
    if not path.is_file():
        raise BakehouseError(
            "usage",
            f"{migration.label} has no down script: there is no {place}",
            "Write a new migration instead; `migrate compensate` starts one.",
        )
    script = sql_script(path)
    findings = [f"{folder.name}/{finding}" for finding in _findings(script, ())]
    if not script.transactional:
        findings.append(f"{place}:1: cannot run in a transaction")
    if findings:
        raise BakehouseError("lint", "\n".join(findings), "Nothing was run.", findings=findings)
    return script


def select(migrations: list[Migration], skip: Collection[str]) -> list[Migration]:
    """Return the migrations without the skipped milestones. Refuses if a kept one needs them."""
    known = list(dict.fromkeys(migration.milestone for migration in migrations))
    if unknown := ", ".join(sorted(set(skip) - set(known))):
        said = f"--skip names an unknown milestone: {unknown}"
        raise BakehouseError("usage", said, f"One of: {', '.join(known)}.")
    chosen = [migration for migration in migrations if migration.milestone not in skip]
    for migration in chosen:
        if missing := ", ".join(sorted(migration.needs & set(skip))):
            raise BakehouseError(
                "usage",
                f"{migration.label} needs {missing}, which --skip leaves out",
                f"Skip {migration.milestone} too, or keep {missing}.",
            )
    return chosen


def create(
    supabase: Path,
    milestone: str,
    concept: str,
    about: str = "",
    needs: Collection[str] = ("M0",),
    up: str = f"{_AS_OWNER}\nselect app.assert_grants();",
    back: str = _AS_OWNER,
) -> tuple[Path, Path]:
    """Create a migration, later than all others, and its down script. Returns both paths."""
    concept = re.sub(r"[^a-z0-9]+", "_", concept.lower()).strip("_")
    if not _MILESTONE.fullmatch(milestone) or not concept:
        raise BakehouseError(
            "usage",
            f"cannot name a migration '{milestone} {concept}'",
            "Give a milestone (M or V and a number) and a concept: migrate new M5 faster scans",
        )
    folder, down = supabase / "migrations", supabase / "down"
    now = int(datetime.now(UTC).strftime("%Y%m%d%H%M%S"))
    version = max([now, *(int(migration.version) + 1 for migration in discover(folder))])
    name = f"{version}_{milestone}_{concept}.sql"
    title = f"-- {milestone} {concept.replace('_', ' ')}"
    paths = folder / name, down / name
    down.mkdir(exist_ok=True)
    begin = "begin;\nset local lock_timeout = '5s';\n"
    head = f"{title}{about}\n-- Needs: {', '.join(sorted(needs))}"
    paths[0].write_text(f"{head}\n\n{begin}{up}\ncommit;\n")
    paths[1].write_text(f"{title}, rolled back\n\n{begin}{back}\ncommit;\n")
    return paths
