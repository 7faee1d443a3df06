"""The record of every run, in the database and as files.

One entry opens a run before its first change, so that a crash shows. Another entry closes it. Each
entry is hashed together with the one before it. A key can sign the hash of an entry.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from psycopg.rows import class_row

from bakehouse.database import Connection, fetch, table_exists, value
from bakehouse.deploy import signing
from bakehouse.errors import BakehouseError, Kind
from bakehouse.migrations import history
from bakehouse.migrations.history import Applied
from bakehouse.migrations.rehearse import Rehearsal
from bakehouse.migrations.watch import Finding

Body = dict[str, Any]
RunKind = (
    Literal["up", "down", "rehearsal", "repair", "resume"]
    | Literal["mark", "drift", "backup", "drill"]
)
Ending = Kind | Literal["done", "killed", "unfinished"]
_FORGED = (KeyError, TypeError, ValueError, AttributeError)  # reading a body raises one of these


@dataclass(frozen=True)
class Entry:
    previous: str
    hash: str
    text: str
    signer: str = ""
    signature: str = ""

    @cached_property
    def body(self) -> Body:
        body = json.loads(self.text)
        return body if isinstance(body, dict) else {}

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.body["at"])


@dataclass(frozen=True)
class Observed:
    """The effects of the pending files, seen in a rehearsal or on staging."""

    breaking: Sequence[str] = ()
    locked: Sequence[str] = ()
    rewritten: Sequence[str] = ()
    unseen: Sequence[str] = ()  # files without a rehearsal
    findings: Sequence[Finding] = ()  # all findings, whatever the size of the table

    def severe(self, rows: Mapping[str, int], large: int) -> list[str]:
        """List what makes a deploy a breaking change, for tables of this size."""
        return [
            *self.breaking,
            *(f"rewrites {t} ({rows[t]} rows)" for t in self.rewritten if rows.get(t, 0) >= large),
            *(f"locks {t} ({rows[t]} rows)" for t in self.locked if rows.get(t, 0) >= large),
            *(f"not rehearsed: {file}" for file in self.unseen),
        ]


@dataclass(frozen=True)
class Run:
    """One run, read from its two entries. An unfinished run has only the first entry."""

    opened: Body
    closed: Body | None
    entries: Sequence[Entry]
    id: str
    kind: RunKind
    env: str
    restored: str  # the backup on which the run took place, or '' for a run on staging itself
    user: str  # the database user
    opened_at: str  # to the minute
    at: datetime  # of the end, or of the start of an unfinished run
    outcome: Ending
    files: list[str]  # the labels of the files that were pending
    head: str | None  # the chain head after the files
    before: str  # the fingerprint of the catalog before the run
    after: str  # the fingerprint of the catalog after the run
    observed: Observed | None  # the effects seen in the rehearsal of these files
    unrehearsed: str  # the accepted reason for a run without a rehearsal, or ''
    broke: Sequence[str]  # the changes of this run that break callers
    smoked: bool  # whether the smoke walk of the run passed


def run_of(opened: Body, closed: Body | None, entries: Sequence[Entry] = ()) -> Run:
    """Read a run from its bodies. A body that bakehouse did not write raises one of _FORGED."""
    end = closed or {}
    seen = opened.get("observed")
    if seen:
        known = {one.name: tuple(seen.get(one.name) or ()) for one in fields(Observed)}
        known["findings"] = tuple(Finding(**one) for one in known["findings"])
        seen = Observed(**known)
    return Run(
        opened,
        closed,
        entries,
        id=opened["run"],
        kind=opened["kind"],
        env=opened["env"],
        restored=opened.get("restored", ""),
        user=opened.get("by", {}).get("database_user", ""),
        opened_at=opened["at"][:16],
        at=datetime.fromisoformat(end["at"] if closed else opened["at"]),
        outcome=end["outcome"] if closed else "unfinished",
        files=list(opened.get("files", ())),
        head=opened.get("head"),
        before=opened.get("before", {}).get("fingerprint", ""),
        after=end.get("after", {}).get("fingerprint", ""),
        observed=seen or None,
        unrehearsed="" if seen else opened.get("accepted", {}).get("rehearsal", ""),
        broke=end.get("breaking") or (),
        smoked=not end.get("smoke", {"failed": "no walk"})["failed"],
    )


def observed(
    parts: Collection[Observed | Rehearsal],
    unseen: Sequence[str] = (),
    broke: Iterable[Sequence[str]] = (),
) -> Observed:
    """Join the effects of several files or runs."""
    return Observed(
        breaking=union(*(one.breaking for one in parts), *broke),
        locked=union(*(one.locked for one in parts)),
        rewritten=union(*(one.rewritten for one in parts)),
        unseen=unseen,
        findings=[finding for one in parts for finding in one.findings],
    )


def union(*parts: Iterable[str]) -> tuple[str, ...]:
    """Return each text once, in the original order."""
    return tuple(dict.fromkeys(one for part in parts for one in part))


def entries(conn: Connection, run: str = "") -> list[Entry]:
    """Read the entries of one run or of all, oldest first."""
    if not table_exists(conn, "bakehouse.evidence"):
        return []
    query = b"""
        select previous, hash, body::text as text, signer, signature
        from bakehouse.evidence where $1 in ('', body ->> 'run') order by number
    """
    return fetch(conn, class_row(Entry), query, run)


def _by_run(found: Iterable[Entry]) -> dict[str, list[Entry]]:
    told: dict[str, list[Entry]] = {}
    for entry in found:
        told.setdefault(str(entry.body.get("run")), []).append(entry)
    return told


def runs(found: Iterable[Entry]) -> list[Run]:
    """Group the entries into runs, oldest first. Leaves out what `broken` reports as no run."""
    told = []
    for mine in _by_run(found).values():
        with suppress(*_FORGED):
            told.append(_read(mine))
    return told


def _read(mine: Sequence[Entry]) -> Run:
    """Read the run of these entries. An entry can be a whole run."""
    opened, last = mine[0].body, mine[-1].body
    return run_of(opened, last if last["event"] == "closed" else None, mine)


def unfinished(told: Collection[Run]) -> list[Run]:
    return [run for run in told if run.closed is None]


def broken(found: Collection[Entry], whole: bool = True) -> list[str]:
    """List edited and forged entries. A `whole` chain must also begin at its start, without gaps.

    The facts of a forged entry are not those of a run, although its hash can be right.
    """
    forged: list[Entry] = []
    for mine in _by_run(found).values():
        try:
            _read(mine)
        except _FORGED:
            forged += mine
    problems = []
    previous = ""
    for number, entry in enumerate(found, 1):
        said = f"entry {number} ({entry.hash[:8]})"
        if hash_of(entry.previous, entry.text) != entry.hash:
            problems.append(f"{said} is not what was written")
        elif entry in forged:
            problems.append(f"{said} does not have the facts of a run")
        if whole and entry.previous != previous:
            problems.append(f"{said} does not follow the one before it")
        previous = entry.hash
    return problems


def signer_of(run: Run, variables: Mapping[str, str], signers: Collection[str]) -> tuple[str, str]:
    """Return who signed all entries of a run, or '' and why nobody did.

    Without named signers, the signatures are not checked.
    """
    name, why = "", ""
    for one in run.entries:
        name, why = one.signer, "" if one.signer else "not signed"
        if signers:
            text = hash_of(one.previous, one.text)
            name, why = signing.check(text, one.signature, variables, signers)
        if why:
            break
    return name, why


def append(conn: Connection, body: Body, variables: Mapping[str, str]) -> None:
    """Add an entry, signed with the key that the variables name."""
    body = body | {"at": datetime.now(UTC).isoformat(timespec="milliseconds")}
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, default=str)
    with conn.transaction():
        conn.execute("lock table bakehouse.evidence in share row exclusive mode")
        last = "select hash from bakehouse.evidence order by number desc limit 1"
        previous = value(conn, last) or ""
        checksum = hash_of(previous, text)
        signed = signing.sign(checksum, variables)
        conn.execute(
            "insert into bakehouse.evidence (previous, hash, body, signer, signature)"
            " values (%s, %s, %s, %s, %s)",
            (previous, checksum, text, *signed),
        )


def hash_of(previous: str, text: str) -> str:
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


def save(folder: Path, found: Iterable[Entry]) -> list[Path]:
    """Write the entries of each run to a file of its own. Returns the files that changed."""
    written = []
    for run, mine in _by_run(found).items():
        opened = mine[0].body
        at = datetime.fromisoformat(opened["at"])
        head = (opened.get("head") or "none")[:8]
        name = "proof" if opened.get("restored") else opened["env"]
        path = folder / f"{name}-{at:%Y%m%dT%H%M%SZ}-{head}-{run[:8]}.json"
        lines = [asdict(entry) for entry in mine]
        text = json.dumps(lines, indent=1, ensure_ascii=False) + "\n"
        if not path.is_file() or path.read_text() != text:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            written.append(path)
    return written


def load(place: Path, env: str, *names: str) -> list[Entry]:
    """Read the entries of an environment from one file, or from the files of a folder.

    `names` are how the files begin; by default, with the environment.
    """
    globs = [f"{name}-*.json" for name in names or (env,)]
    paths = [path for glob in globs for path in sorted(place.glob(glob))]
    paths = paths if place.is_dir() else [place] if place.exists() else []
    found: list[Entry] = []
    for path in paths:
        try:
            read = [Entry(**one) for one in json.loads(path.read_text())]
            found += [one for one in read if one.at and one.body.get("env", env) == env]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BakehouseError("usage", f"{path} is not an evidence file: {error}") from None
    return found


def missing_end(told: list[Run], applied: Collection[Applied]) -> str:
    """Return why the newest runs cannot be on record, or '' if the record explains the history."""
    for run in reversed(told):
        left, after = applied, (run.closed or {}).get("after", {})
        if run.closed is None and run.kind in ("up", "down"):  # it may have changed some versions
            versions = {label.partition("_")[0] for label in run.files}
            left = [row for row in applied if row.version not in versions]
            after = run.opened.get("before", {}) if run.kind == "up" else run.opened
        if "head" in after:
            what = f"the last run on record ({run.kind}, {run.opened_at})"
            same = after["head"] == history.chain_head(left)
            return "" if same else f"the history is not as {what} left it"
    return "no run is on record that recorded the history: `bakehouse env mark` records it"


def origins(told: Collection[Run], fingerprint: str) -> Iterator[str]:
    """Yield this fingerprint, and that before each unsuccessful run that led to it."""
    yield fingerprint
    for run in reversed([run for run in told if run.kind == "up"]):
        if run.outcome == "done" or (run.closed and run.after != fingerprint):
            return
        yield run.before
        fingerprint = run.before


def adopted(told: Collection[Run], labels: Collection[str]) -> list[str]:
    """List the files that were last adopted, and not run."""
    last = {}
    for run in told:
        if run.outcome == "done" and (run.kind == "up" or run.opened.get("action") == "adopt"):
            last.update(dict.fromkeys(run.files, run.kind))
    return [label for label in labels if last.get(label) == "repair"]


def path(told: Collection[Run], head: str, starts: Collection[str]) -> list[Run]:
    """Return the runs that led from one of these fingerprints to this chain head."""
    ups = [run for run in told if run.kind == "up" and run.closed]
    for last in reversed(ups):
        if last.head == head and last.outcome == "done":
            way = [last]
            while way[0].before not in starts:
                earlier = [run for run in ups[: ups.index(way[0])] if run.after == way[0].before]
                if not earlier:
                    break
                way.insert(0, earlier[-1])
            else:
                return way
    return []
