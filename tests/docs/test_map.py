"""The list of files names every migration, in the order of application."""

import re

from docs import pages
from docs.pages import ROOT
from projects.test_lock_order import LOCKS


def test_the_map_is_the_folder_of_migrations() -> None:
    section = pages.section(pages.read("docs/architecture.md"), "The map of the files")
    named = re.findall(r"^\| `([MV]\d+_\w+)` \|", section, re.MULTILINE)

    files = sorted((ROOT / "supabase" / "migrations").glob("*.sql"))

    assert named == [path.stem.partition("_")[2] for path in files]


def test_the_lock_order_is_the_one_that_is_tested() -> None:
    section = pages.section(pages.read("docs/architecture.md"), "The lock order")

    assert len(re.findall(r"^\d+\. ", section, re.MULTILINE)) == len(LOCKS)
