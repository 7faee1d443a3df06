"""The snippets for supabase-js work with the unmodified client."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from bakehouse.database import Connection
from calls import acting_as
from docs import pages
from docs.dev_data import dev_database
from postgres import Server
from rows import value

HERE = Path(__file__).parent
BAKER = UUID("00000000-0000-4000-8000-000000000003")
SESSION = {
    "access_token": "a.b.c",
    "token_type": "bearer",
    "expires_in": 3600,
    "refresh_token": "r",
}
CONNECT, *SNIPPETS = pages.blocks(pages.read("docs/connecting.md"), "js")

pytestmark = pytest.mark.skipif(
    not (HERE / "node_modules" / "@supabase" / "supabase-js").exists()
    or shutil.which("node") is None,
    reason="supabase-js is not installed: `make test-supabase` does it where Node is",
)


@dataclass
class Api:
    """As much of the HTTP API as the snippets need, on a real database."""

    db: Connection
    called: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    def answer(self, path: str, body: bytes) -> tuple[int, object]:
        place = urlsplit(path)
        if place.path.startswith("/auth/"):
            return 200, SESSION | {"user": {"id": str(BAKER)}}
        if not place.path.startswith("/rest/v1/rpc/"):
            table = place.path.rpartition("/")[2]
            self.read.append(table)
            return 200, self.select(table, parse_qs(place.query)["select"][0].split(","))
        name, given = place.path.rpartition("/")[2], json.loads(body)
        self.called.append((name, given))
        try:
            return 200, self.call(name, given)
        except psycopg.Error as error:
            said = error.diag
            return int(str(error.sqlstate)[2:]), {
                "code": error.sqlstate,
                "message": said.message_primary,
                "details": said.message_detail,
                "hint": said.message_hint,
            }

    def select(self, table: str, columns: list[str]) -> object:
        # table.name is a column, or a function of the row
        wanted = [sql.SQL("*") if name == "*" else sql.Identifier(name) for name in columns]
        query = sql.SQL("select {} from public.{}").format(
            sql.SQL(", ").join(
                sql.SQL("{}.{}").format(sql.Identifier(table), name) for name in wanted
            ),
            sql.Identifier(table),
        )
        with acting_as(self.db, "authenticated", BAKER):
            return self.db.cursor(row_factory=dict_row).execute(query).fetchall()

    def call(self, name: str, given: dict[str, object]) -> object:
        arguments = sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(key), sql.Literal(str(given[key])))
            for key in given
        )
        is_list = value(self.db, "select proretset from pg_proc where proname = %s", name)
        shape = "select coalesce(jsonb_agg(row), '[]') from public.{}({}) as row"
        query = sql.SQL(shape if is_list else "select to_jsonb(public.{}({}))")
        with acting_as(self.db, "authenticated", BAKER):
            row = self.db.execute(query.format(sql.Identifier(name), arguments)).fetchone()
        return row and row[0]


@pytest.fixture(scope="module")
def seeded(server: Server, template: str) -> Iterator[Connection]:
    with dev_database(server, template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def api(seeded: Connection) -> Iterator[Api]:
    with seeded.transaction(force_rollback=True):
        yield Api(seeded)


def run(api: Api, snippet: str) -> str:
    """Returns the output of Node for a snippet that uses the API."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, answer = api.answer(self.path, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer, default=str).encode())

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    done = subprocess.run(
        ["node", "--experimental-websocket", "--input-type=module"],  # not needed since Node 22
        input=f"{CONNECT}\n{snippet}\nprocess.exit(0)\n",
        cwd=HERE,
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "SUPABASE_URL": url,
            "SUPABASE_ANON_KEY": "anon",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    server.shutdown()
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_readme_moves_an_order(api: Api) -> None:
    (snippet,) = pages.blocks(pages.read("README.md"), "js")

    assert run(api, snippet) == "Covering\n"
    assert api.called == [("complete_filling", {"p_order_id": "bannos-10001"})]


def test_a_refused_call_has_its_symbol_in_the_hint(api: Api) -> None:
    (snippet,) = pages.blocks(pages.read("README.md"), "js")

    assert run(api, snippet.replace("complete_filling", "complete_packing")).startswith(
        "INVALID_STAGE "
    )


@pytest.mark.parametrize("snippet", [one for one in SNIPPETS if "channel" not in one])
def test_every_snippet_runs(api: Api, snippet: str) -> None:
    refused = "typeof error === 'object' && error || typeof data === 'object' && data === null"

    assert run(api, f"{snippet}\nif ({refused}) throw new Error('refused')") == ""
    assert api.called or api.read or "signIn" in snippet


def test_the_second_page_goes_on_after_the_first(api: Api) -> None:
    (snippet,) = (one for one in SNIPPETS if "page_key" in one)

    run(api, snippet)

    (_, first), (_, second) = api.called
    assert set(second) - set(first) == {"p_after"}


def test_the_snippet_for_live_updates_joins_the_private_channel(api: Api) -> None:
    (snippet,) = (one for one in SNIPPETS if "channel" in one)
    report = "const [one] = supabase.getChannels(); console.log(one.topic, one.private)"
    prepared = snippet.replace(".subscribe()", "")

    assert run(api, f"{prepared}\n{report}") == "realtime:bakehouse true\n"
