import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from bakehouse import database
from command import Project
from environments import MAKE, Environments, mark
from postgres import Server

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project to write migrations into."""
    (tmp_path / "supabase" / "migrations").mkdir(parents=True)
    return Project(tmp_path)


@pytest.fixture
def unmarked(blank: str) -> str:
    """The blank database, before it says which environment it is."""
    with database.connect(blank, "tests") as conn:
        conn.execute("drop schema supabase_migrations cascade")
    return blank


@pytest.fixture
def blank(blank: str) -> str:
    """The DSN of a database of the test's own that is dev, without migrations."""
    return mark(blank)


@pytest.fixture
def clone(clone: str) -> str:
    """The DSN of a migrated database of the test's own that is dev."""
    return mark(clone)


@pytest.fixture
def environments(tmp_path: Path, server: Server, blank_template: str) -> Iterator[Environments]:
    shutil.copytree(ROOT / "supabase", tmp_path / "supabase")
    (tmp_path / ".gitignore").write_text("evidence/\ntaken\n")
    project = Project(tmp_path)
    urls = {env: server.dsn(server.copy(blank_template)) for env in ("dev", "staging", "prod")}
    probe = f'backup_probe = ["cat", "{tmp_path}/taken"]'
    project = project.settle("dev", urls["dev"])
    project = project.settle("staging", urls["staging"], probe)
    secrets = 'secrets = ["bannos/webhook", "PAGER_KEY"]'
    project = project.settle("prod", urls["prod"], probe, secrets, "transaction_seconds = 2")
    environments = Environments(project, urls)
    environments.git("init", "--quiet")
    project.write("20990101000000_M9_leftover.sql", MAKE)
    environments.commit()
    for env in urls:
        assert environments.project.run("env", "mark", env).code == 0
    with server.one_at_a_time():
        yield environments
    for url in urls.values():
        server.drop(str(conninfo_to_dict(url)["dbname"]))
