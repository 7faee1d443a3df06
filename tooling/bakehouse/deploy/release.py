"""Releases are annotated tags v*: read a tag, compare it with the checkout, prepare a new one."""

import hashlib
import io
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bakehouse.errors import BakehouseError
from bakehouse.migrations import history
from bakehouse.migrations.files import Migration, discover, select

FOLDER = "supabase/migrations"
_RELEASED = ("supabase", "bakehouse.toml", "tooling")


@dataclass(frozen=True)
class Tag:
    """The tag of the checkout, and the reasons not to deploy it."""

    name: str | None
    commit: str | None
    problems: tuple[str, ...] = ()


def git(root: Path, *arguments: str) -> str | None:
    """Return what git prints; None if git fails or is not installed."""
    try:
        ran = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    except OSError:
        return None
    return None if ran.returncode else ran.stdout


def tag_of(root: Path) -> Tag:
    """Read the tag of HEAD, and list how the checkout differs from it."""
    commit = (git(root, "rev-parse", "HEAD") or "").strip()
    if not commit:
        return Tag(None, None, ("this is no git checkout",))
    listing = ("tag", "--points-at", "HEAD", "--list", "v*")
    tags = git(root, *listing, "--format", "%(objecttype) %(refname:short)") or ""
    annotated = [line.split()[1] for line in tags.splitlines() if line.startswith("tag ")]
    problems = list(_uncommitted(root))
    if not annotated:
        light = tags.split()[1::2]
        why = f"{light[0]} is not annotated (git tag -a)" if light else "HEAD carries no v* tag"
        return Tag(None, commit, (why, *problems))
    return Tag(annotated[-1], commit, (*problems, *_other_bytes(root, annotated[-1])))


def _uncommitted(root: Path) -> Iterator[str]:
    status = git(root, "status", "--porcelain", "--", *_RELEASED) or ""
    same = _same(root, "HEAD")
    changed = [line[3:] for line in status.splitlines() if not same.get(line[3:])]
    if changed:
        yield "not committed: " + ", ".join(changed)


def _other_bytes(root: Path, tag: str) -> Iterator[str]:
    """Compare each file with the tag. Settings of git cannot hide a difference."""
    same = _same(root, tag)
    here = {path.relative_to(root).as_posix() for path in (root / FOLDER).glob("*.sql")}
    other = [name for name in sorted({*same, *here}) if not same.get(name)]
    if other:
        yield f"not as in {tag}: " + ", ".join(Path(name).name for name in other)


def _same(root: Path, commit: str) -> dict[str, bool]:
    """Say of each released file of a commit if the file here is the same. Line ends may differ."""
    kind = (git(root, "rev-parse", "--show-object-format") or "sha1").strip()
    listed = git(root, "ls-tree", "-r", "-z", commit, "--", *_RELEASED) or ""
    same = {}
    for line in listed.split("\0")[:-1]:
        facts, _, name = line.partition("\t")
        path = root / name
        text = path.read_bytes() if path.is_file() else b""
        hashes = [
            hashlib.new(kind, b"blob %d\0" % len(one) + one, usedforsecurity=False).hexdigest()
            for one in (text, text.replace(b"\r\n", b"\n"))
        ]
        same[name] = path.is_file() and facts.split()[2] in hashes
    return same


@contextmanager
def files_of(root: Path, tag: str) -> Iterator[list[Migration]]:
    """Yield the migrations of a tag."""
    import zipfile  # imported here, because most commands start faster without it

    try:
        ran = subprocess.run(
            ["git", "-C", str(root), "archive", "--format=zip", tag, FOLDER],
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        raise BakehouseError(
            "usage", f"git has no tag {tag} with a folder {FOLDER}", "`git tag` lists all tags."
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(io.BytesIO(ran.stdout)).extractall(folder)
        yield discover(Path(folder, FOLDER))


@dataclass(frozen=True)
class Notes:
    """The notes of a new release. `path` holds `text`, which becomes the message of the tag."""

    path: Path
    text: str
    since: str  # the previous tag, or '' for the first release
    migrations: list[str]  # those that are new since then
    head: str | None


def prepare(root: Path, tag: str, files: list[Migration], left_out: frozenset[str]) -> Notes:
    """Write the notes of a new tag to evidence/. Refuses a tree that cannot be tagged."""
    _require_taggable(root, tag)
    before = (git(root, "describe", "--tags", "--abbrev=0", "--match", "v*") or "").strip()
    new = files
    if before:
        with files_of(root, before) as old:
            known = {file.version for file in old}
        new = [file for file in files if file.version not in known]
    names = [file.path.name for file in new] or ["none"]
    head = history.head_after([], select(files, left_out))
    lines = [tag, "", f"Migrations since {before or 'the beginning'}:", *names]
    text = "\n".join([*lines, "", f"Chain head {head}", ""])
    path = root / "evidence" / f"{tag}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return Notes(path, text, before, names, head)


def _require_taggable(root: Path, tag: str) -> None:
    problems = list(_uncommitted(root))
    if not (tag.startswith("v") and tag[1:2].isdigit()):
        problems.append(f"'{tag}' is no release: use v and a number, such as v1.2.0")
    elif git(root, "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}") is not None:
        problems.append(f"{tag} exists")
    if git(root, "rev-parse", "HEAD") is None:
        problems = ["this is no git checkout with a commit"]
    if problems:
        raise BakehouseError("gate", "\n".join(problems), "Nothing was written.", problems=problems)
