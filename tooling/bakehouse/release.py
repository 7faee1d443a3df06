"""A release is an annotated tag v*: what it holds, and whether this checkout is it."""

import io
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bakehouse import migrations
from bakehouse.errors import BakehouseError
from bakehouse.migrations import Migration

FOLDER = "supabase/migrations"


@dataclass(frozen=True)
class Tag:
    """What git says of this checkout; problems are reasons not to trust it."""

    name: str | None
    commit: str | None
    problems: tuple[str, ...] = ()


def git(root: Path, *arguments: str) -> str | None:
    """What git prints; None where it fails or there is none."""
    try:
        ran = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    except OSError:
        return None
    return None if ran.returncode else ran.stdout


def read(root: Path) -> Tag:
    """The tag that HEAD carries, and what differs from it."""
    commit = (git(root, "rev-parse", "HEAD") or "").strip()
    if not commit:
        return Tag(None, None, ("this is no git checkout",))
    tags = (
        git(
            root,
            "tag",
            "--points-at",
            "HEAD",
            "--list",
            "v*",
            "--format",
            "%(objecttype) %(refname:short)",
        )
        or ""
    )
    annotated = [line.split()[1] for line in tags.splitlines() if line.startswith("tag ")]
    problems = list(_dirt(root))
    if not annotated:
        light = tags.split()[1::2]
        why = f"{light[0]} is not annotated (git tag -a)" if light else "HEAD carries no v* tag"
        return Tag(None, commit, (why, *problems))
    return Tag(annotated[-1], commit, (*problems, *_other_bytes(root, annotated[-1])))


def _dirt(root: Path) -> Iterator[str]:
    changed = (
        git(root, "status", "--porcelain", "--", "supabase", "bakehouse.toml") or ""
    ).rstrip()
    if changed:
        yield "not committed: " + ", ".join(line[3:] for line in changed.splitlines())


def _other_bytes(root: Path, tag: str) -> Iterator[str]:
    """Files whose bytes are not the tag's, whatever git has been told to overlook."""
    listed = git(root, "ls-tree", "-r", tag, "--", FOLDER) or ""
    tagged = {line.partition("\t")[2]: line.split()[2] for line in listed.splitlines()}
    here = sorted(str(path.relative_to(root)) for path in (root / FOLDER).glob("*.sql"))
    hashes = (git(root, "hash-object", "--no-filters", "--", *here) or "").split() if here else []
    other = [name for name, found in zip(here, hashes, strict=True) if tagged.get(name) != found]
    other += sorted(name for name in tagged if name.endswith(".sql") and name not in here)
    if other:
        yield f"not as in {tag}: " + ", ".join(Path(name).name for name in other)


@contextmanager
def files_of(root: Path, tag: str) -> Iterator[list[Migration]]:
    """The migrations that a tag holds."""
    import tarfile  # here, not above: a tool that is run often starts with what it always needs

    try:
        ran = subprocess.run(
            ["git", "-C", str(root), "archive", tag, FOLDER], capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        raise BakehouseError("usage", f"git knows no {tag} that holds {FOLDER}") from None
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(ran.stdout)) as archive:
            for member in archive:
                text = archive.extractfile(member) if member.isfile() else None
                if text:
                    (Path(folder) / Path(member.name).name).write_bytes(text.read())
        yield migrations.discover(Path(folder))


def prepare(root: Path, tag: str, files: list[Migration]) -> tuple[str, list[Migration]]:
    """The tag before this one, and what is new since; refuses a tree that cannot be tagged."""
    problems = list(_dirt(root))
    if not (tag.startswith("v") and tag[1:2].isdigit()):
        problems.append(f"'{tag}' is no release: v and a number, such as v1.2.0")
    elif git(root, "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}") is not None:
        problems.append(f"{tag} exists")
    if git(root, "rev-parse", "HEAD") is None:
        problems = ["this is no git checkout with a commit"]
    if problems:
        raise BakehouseError("gate", "\n".join(problems), "Nothing was written.", problems=problems)
    before = (git(root, "describe", "--tags", "--abbrev=0", "--match", "v*") or "").strip()
    if not before:
        return "", files
    with files_of(root, before) as old:
        known = {file.version for file in old}
    return before, [file for file in files if file.version not in known]
