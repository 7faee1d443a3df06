"""Files with the line ends of Windows: every command treats them as the same files."""

from pathlib import Path

import pytest

from command import Project, query
from environments import Environments

FIRST = "20260101000000_M0_cakes.sql"
CAKES = """-- cakes
begin;
create function public.bake() returns text language plpgsql as $$
begin
  return 'a
cake';
end;
$$;
commit;
"""


def to_windows(*paths: Path) -> None:
    for path in paths:
        path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


def test_the_line_ends_of_a_file_change_nothing(project: Project, blank: str) -> None:
    path = project.write(FIRST, CAKES)
    to_windows(path)

    up = project.run("migrate", "up", url=blank)
    path.write_text(CAKES)
    status = project.run("migrate", "status", "--json", url=blank)
    verified = project.run("migrate", "verify", url=blank)

    assert (up.code, verified.code) == (0, 0), up.err + verified.err
    assert [row["state"] for row in status.json["migrations"]] == ["applied"]
    assert query(blank, "select public.bake()") == [("a\ncake",)]


def test_an_error_in_a_file_of_windows_names_its_line(project: Project, blank: str) -> None:
    path = project.write(FIRST, CAKES.replace("commit;", "select nothing;\ncommit;"))
    plan_before = project.run("migrate", "plan", url=blank)
    to_windows(path)

    ran = [project.run("migrate", command, url=blank) for command in ("plan", "up")]

    assert [one.code for one in ran] == [7, 7], ran
    for one in ran:
        assert f"{FIRST}:9: " in one.err
        assert "  9 | select nothing;" in one.err
    assert ran[0].err == plan_before.err


def test_a_down_script_and_a_copy_of_windows_work(project: Project, blank: str) -> None:
    path = project.write(FIRST, CAKES)
    script = project.root / "supabase" / "down" / FIRST
    script.parent.mkdir()
    script.write_text("begin;\ndrop function public.bake;\ncommit;\n")
    to_windows(path, script)

    ran = [
        project.run("migrate", "plan", url=blank),
        project.run("migrate", "up", url=blank),
        project.run("migrate", "down", FIRST[:14], url=blank),
    ]

    assert [one.code for one in ran] == [0, 0, 0], [one.err for one in ran]
    assert query(blank, "select to_regproc('public.bake')") == [(None,)]


@pytest.mark.slow
def test_a_checkout_of_windows_is_its_tag_and_an_edited_tool_is_not(
    launched: Environments,
) -> None:
    root = launched.project.root
    tool = root / "tooling" / "tool.py"
    tool.parent.mkdir()
    tool.write_text("print('gate')\n")
    launched.commit()
    launched.git("tag", "-f", "-a", "v1.1.0", "-m", "v1.1.0")

    def tag(env: str = "prod") -> list[str]:
        gates = launched.run("gate", "check", "--json", env=env).json["gates"]
        return [gate["verdict"] + " " + gate["reason"] for gate in gates if gate["gate"] == "tag"]

    to_windows(
        *(path for path in (root / "supabase").rglob("*.sql")), root / "bakehouse.toml", tool
    )
    windows = tag()
    tool.write_text("print('no gate')\n")
    dirty = tag()
    launched.git("update-index", "--assume-unchanged", "tooling/tool.py")
    hidden = tag()

    assert windows == ["passed this is v1.1.0, byte for byte"]
    assert dirty == ["refused not committed: tooling/tool.py; not as in v1.1.0: tool.py"]
    assert hidden == ["refused not as in v1.1.0: tool.py"]
