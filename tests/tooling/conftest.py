from pathlib import Path

import pytest

from tool import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project to write migrations into."""
    (tmp_path / "supabase" / "migrations").mkdir(parents=True)
    return Project(tmp_path)
