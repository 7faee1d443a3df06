"""The record of every run, in the database and as files: what ran, on whose word, how it ended.

An entry opens a run before its first change, so that a crash shows; another closes it. Each entry
is hashed together with the one before.
"""

import hashlib
import json
import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from bakehouse import history
from bakehouse.database import Connection
from bakehouse.errors import BakehouseError

Facts = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    previous: str
    hash: str
    text: str

    @cached_property
    def body(self) -> Facts:
        body: Facts = json.loads(self.text)
        return body


@dataclass(frozen=True)
class Run:
    """A run as its entries tell it; one that did not end has only the first."""

    opened: Facts
    closed: Facts | None = None

    @property
    def id(self) -> str:
        return str(self.opened["run"])

    @property
    def kind(self) -> str:
        return str(self.opened["kind"])

    @property
    def head(self) -> str | None:
        """The chain head that it led to, or was meant to lead to."""
        return self.opened.get("head")

    @property
    def before(self) -> str:
        """The fingerprint of the catalogue that it found."""
        return str(self.opened.get("before", {}).get("fingerprint", ""))

    @property
    def after(self) -> str:
        return str((self.closed or {}).get("after", {}).get("fingerprint", ""))

    @property
    def outcome(self) -> str:
        return str(self.closed["outcome"]) if self.closed else "unfinished"

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat((self.closed or self.opened)["at"])


def entries(conn: Connection) -> list[Entry]:
    """Everything on record, oldest first."""
    if not history.exists(conn, "bakehouse.evidence"):
        return []
    rows = conn.execute(
        "select previous, hash, body::text from bakehouse.evidence order by number"
    ).fetchall()
    return [Entry(*map(str, row)) for row in rows]


def runs(found: Iterable[Entry]) -> list[Run]:
    """The runs that the entries tell of, in the order in which they were opened."""
    told: dict[str, Run] = {}
    for entry in found:
        body = entry.body
        known = told.get(body["run"])
        told[body["run"]] = Run(known.opened, body) if known else Run(body)
    return list(told.values())


def unfinished(told: Collection[Run]) -> list[Run]:
    return [run for run in told if run.closed is None]


def broken(found: Iterable[Entry], whole: bool = True) -> list[str]:
    """Where the chain does not hold; a part of it, as in files, may miss its neighbours."""
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


def open_run(conn: Connection, kind: str, **facts: object) -> Run:
    """Put on record that something is about to be done."""
    return Run(_append(conn, {"run": str(uuid.uuid4()), "kind": kind, "event": "opened", **facts}))


def close(conn: Connection, run: Run, **facts: object) -> Run:
    """Put on record how it ended."""
    return Run(run.opened, _append(conn, {"run": run.id, "event": "closed", **facts}))


def _append(conn: Connection, body: Facts) -> Facts:
    body["at"] = datetime.now(UTC).isoformat(timespec="milliseconds")
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, default=str)
    with conn.transaction():
        conn.execute("lock table bakehouse.evidence in share row exclusive mode")
        row = conn.execute(
            "select hash from bakehouse.evidence order by number desc limit 1"
        ).fetchone()
        previous = str(row[0]) if row else ""
        conn.execute(
            "insert into bakehouse.evidence (previous, hash, body) values (%s, %s, %s)",
            (previous, hash_of(previous, text), text),
        )
    done: Facts = json.loads(text)
    return done


def hash_of(previous: str, text: str) -> str:
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


def save(folder: Path, found: Iterable[Entry], wanted: Collection[str] | None = None) -> list[Path]:
    """Write a file for each run that has none yet (of those wanted), its entries as they are."""
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
        path = folder / f"{opened['env']}-{at:%Y%m%dT%H%M%SZ}-{head}-{run[:8]}.json"
        lines = [{"previous": e.previous, "hash": e.hash, "entry": e.text} for e in mine]
        text = json.dumps(lines, indent=1, ensure_ascii=False) + "\n"
        if not path.is_file() or path.read_text() != text:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            written.append(path)
    return written


def load(place: Path, env: str) -> list[Entry]:
    """The entries that files tell of an environment: one file, or those of a folder."""
    paths = sorted(place.glob(f"{env}-*.json")) if place.is_dir() else [place]
    found = []
    for path in paths:
        try:
            found += [
                Entry(o["previous"], o["hash"], o["entry"]) for o in json.loads(path.read_text())
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BakehouseError("usage", f"{path} is no evidence file: {error}") from None
    return [entry for entry in found if entry.body.get("env", env) == env]


def origins(told: Collection[Run], fingerprint: str) -> Iterator[str]:
    """The catalogue as it is, and as it was before runs that stopped on the way to it."""
    yield fingerprint
    for run in reversed([run for run in told if run.kind == "up"]):
        if run.outcome == "done" or (run.closed and run.after != fingerprint):
            return
        yield run.before
        fingerprint = run.before


def path(told: Collection[Run], head: str, starts: Collection[str]) -> list[Run]:
    """The runs that led from one of the starts to a chain head; none when no runs did."""
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
