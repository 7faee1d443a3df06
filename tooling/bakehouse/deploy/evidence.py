"""The record of every run, in the database and as files.

One entry opens a run before its first change, so that a crash shows. Another entry closes it. Each
entry is hashed together with the one before it. A key can sign the hash of an entry.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from psycopg.rows import class_row

from bakehouse.database import Connection, fetch, table_exists, value
from bakehouse.deploy import signing
from bakehouse.errors import BakehouseError, Kind
from bakehouse.migrations import history
from bakehouse.migrations.history import Applied

Body = dict[str, Any]
RunKind = (
    Literal["up", "down", "rehearsal", "repair", "resume"]
    | Literal["mark", "drift", "backup", "drill"]
)
Ending = Kind | Literal["done", "killed", "unfinished"]
Sign = Callable[[str], tuple[str, str]]  # returns the signer and the signature of a text


@dataclass(frozen=True)
class Entry:
    previous: str
    hash: str
    text: str
    signer: str = ""
    signature: str = ""

    @cached_property
    def body(self) -> Body:
        body: Body = json.loads(self.text)
        return body

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.body["at"])


@dataclass(frozen=True)
class Observed:
    """The effects of the pending files, seen in a rehearsal or on staging."""

    breaking: tuple[str, ...] = ()
    locked: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()  # files without a rehearsal
    findings: tuple[dict[str, Any], ...] = ()  # all findings, whatever the size of the table

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
    closed: Body | None = None
    entries: tuple[Entry, ...] = ()
    sign: Sign | None = None  # how the run signs its entries while it runs

    @property
    def id(self) -> str:
        return str(self.opened["run"])

    @property
    def kind(self) -> RunKind:
        return cast(RunKind, self.opened["kind"])

    @property
    def env(self) -> str:
        return str(self.opened["env"])

    @property
    def restored(self) -> str:
        """The backup on which the run took place, or '' for a run on staging itself."""
        return str(self.opened.get("restored", ""))

    @property
    def user(self) -> str:
        """The database user of the run."""
        return str(self.opened["by"]["database_user"])

    @property
    def files(self) -> list[str]:
        """The labels of the files that were pending."""
        return list(self.opened.get("files", ()))

    @property
    def opened_at(self) -> str:
        """The time of the start, to the minute."""
        return str(self.opened["at"])[:16]

    @property
    def at(self) -> datetime:
        """The time of the end, or of the start of an unfinished run."""
        return datetime.fromisoformat((self.closed or self.opened)["at"])

    @property
    def head(self) -> str | None:
        """The chain head after the files."""
        return self.opened.get("head")

    @property
    def before(self) -> str:
        """The fingerprint of the catalog before the run."""
        return str(self.opened.get("before", {}).get("fingerprint", ""))

    @property
    def after(self) -> str:
        """The fingerprint of the catalog after the run."""
        return str((self.closed or {}).get("after", {}).get("fingerprint", ""))

    @property
    def outcome(self) -> Ending:
        return cast(Ending, self.closed["outcome"]) if self.closed else "unfinished"

    @property
    def observed(self) -> Observed | None:
        """The effects seen in the rehearsal of these files, or None without a rehearsal."""
        seen = self.opened.get("observed")
        if not seen:
            return None
        known = [one.name for one in fields(Observed)]
        return Observed(**{name: tuple(seen.get(name) or ()) for name in known})

    @property
    def unrehearsed(self) -> str:
        """The accepted reason for a run without a rehearsal, or ''."""
        return "" if self.observed else str(self.opened.get("accepted", {}).get("rehearsal", ""))

    @property
    def broke(self) -> tuple[str, ...]:
        """The changes of this run that break callers."""
        return tuple((self.closed or {}).get("breaking") or ())

    @property
    def smoked(self) -> bool:
        """Whether the smoke walk of the run passed."""
        return bool(self.closed) and not (self.closed or {})["smoke"]["failed"]


def entries(conn: Connection) -> list[Entry]:
    """Read all entries, oldest first."""
    if not table_exists(conn, "bakehouse.evidence"):
        return []
    query = b"""
        select previous, hash, body::text as text, signer, signature
        from bakehouse.evidence order by number
    """
    return fetch(conn, class_row(Entry), query)


def runs(found: Iterable[Entry]) -> list[Run]:
    """Group the entries into runs, oldest first. An entry can be a whole run."""
    told: dict[str, Run] = {}
    for entry in found:
        body = entry.body
        known = told.get(body["run"])
        if known:
            told[body["run"]] = Run(known.opened, body, (*known.entries[:1], entry))
        else:
            told[body["run"]] = Run(body, body if body["event"] == "closed" else None, (entry,))
    return list(told.values())


def unfinished(told: Collection[Run]) -> list[Run]:
    return [run for run in told if run.closed is None]


def broken(found: Iterable[Entry], whole: bool = True) -> list[str]:
    """List edited entries. A `whole` chain must also begin at its start and have no gaps."""
    problems = []
    previous = ""
    for number, entry in enumerate(found, 1):
        said = f"entry {number} ({entry.hash[:8]})"
        if hash_of(entry.previous, entry.text) != entry.hash:
            problems.append(f"{said} is not what was written")
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


def open_run(conn: Connection, kind: RunKind, sign: Sign | None = None, **facts: object) -> Run:
    """Record that a run is about to begin."""
    body = {"run": str(uuid.uuid4()), "kind": kind, "event": "opened", **facts}
    return Run(_append(conn, body, sign), sign=sign)


def close(conn: Connection, run: Run, outcome: Ending, **facts: object) -> Run:
    """Record how a run ended, even if the key of the run fails now."""
    body = {"run": run.id, "event": "closed", "outcome": outcome, **facts}
    try:
        closed = _append(conn, body, run.sign)
    except BakehouseError as error:
        closed = _append(conn, body | {"unsigned": str(error)}, None)
    return replace(run, closed=closed)


def note(
    conn: Connection, kind: RunKind, outcome: Ending, sign: Sign | None = None, **facts: object
) -> Run:
    """Record a whole run in one entry, at its end."""
    body = {"run": str(uuid.uuid4()), "kind": kind, "event": "closed", "outcome": outcome, **facts}
    done = _append(conn, body, sign)
    return Run(done, done)


def outcome_of(failure: Exception | None) -> Ending:
    if failure is None:
        return "done"
    return failure.kind if isinstance(failure, BakehouseError) else "unexpected"


def _append(conn: Connection, body: Body, sign: Sign | None) -> Body:
    body["at"] = datetime.now(UTC).isoformat(timespec="milliseconds")
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, default=str)
    with conn.transaction():
        conn.execute("lock table bakehouse.evidence in share row exclusive mode")
        last = "select hash from bakehouse.evidence order by number desc limit 1"
        previous = value(conn, last) or ""
        checksum = hash_of(previous, text)
        signer, signature = sign(checksum) if sign else ("", "")
        conn.execute(
            "insert into bakehouse.evidence (previous, hash, body, signer, signature)"
            " values (%s, %s, %s, %s, %s)",
            (previous, checksum, text, signer, signature),
        )
    done: Body = json.loads(text)
    return done


def hash_of(previous: str, text: str) -> str:
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


def save(folder: Path, found: Iterable[Entry], wanted: Collection[str] | None = None) -> list[Path]:
    """Write the entries of each wanted run to a file of its own. Returns the files that changed."""
    by_run: dict[str, list[Entry]] = {}
    for entry in found:
        by_run.setdefault(entry.body["run"], []).append(entry)
    written = []
    for run, mine in by_run.items():
        if wanted is not None and run not in wanted:
            continue
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
            found += [one for one in read if one.body["run"] and one.body.get("env", env) == env]
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
            after = run.opened["before"] if run.kind == "up" else run.opened
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
