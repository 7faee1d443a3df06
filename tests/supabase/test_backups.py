"""`bakehouse backup probe` reads the answer of the real Supabase CLI.

A test cannot use the hosted API, so a local server gives the documented answer.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from command import Project
from environments import mark

CLI = Path(__file__).parent / "node_modules" / ".bin" / "supabase"
REFERENCE = "abcdefghijklmnopqrst"
ANSWER = {
    "region": "eu-central-1",
    "walg_enabled": True,
    "pitr_enabled": False,
    "physical_backup_data": {},
    "backups": [
        {
            "id": number,
            "is_physical_backup": True,
            "status": status,
            "inserted_at": f"2026-01-0{number}T03:00:00.000Z",
        }
        for number, status in enumerate(("COMPLETED", "COMPLETED", "FAILED"), 1)
    ],
}

pytestmark = pytest.mark.skipif(
    not CLI.exists(), reason="the Supabase CLI is not installed: `make test-supabase` does it"
)


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_the_newest_completed_backup_is_read(tmp_path: Path, blank: str, api: str) -> None:
    (tmp_path / "supabase" / "migrations").mkdir(parents=True)
    profile = tmp_path / "profile.yaml"
    profile.write_text(
        f"name: local\napi_url: {api}\ndashboard_url: {api}\nproject_host: supabase.co\n"
    )
    command = [str(CLI), "backups", "list", f"--remote={REFERENCE}", "--output", "json"]
    setting = f"backup_supabase = {json.dumps([*command, '--profile', str(profile)])}"
    project = Project(tmp_path).configure("dev", mark(blank), setting)
    token = {
        "SUPABASE_ACCESS_TOKEN": f"sbp_{'0' * 40}"
    }  # the local server does not check the token

    ran = replace(project, variables={**project.variables, **token}).run(
        "backup", "probe", "--json"
    )

    assert ran.code == 0, ran.out
    assert ran.json["believed"]["source"] == "supabase"
    assert ran.json["believed"]["taken_at"].startswith("2026-01-02 03:00:00")
