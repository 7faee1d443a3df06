"""Several processes that call RPCs as the API does, and write down every answer.

An order belongs to one process, so that the process knows the next step. Stock and the queue are
shared by all.
"""

import json
import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import psycopg

from bakehouse.database import Connection
from chaos import books
from chaos.books import Book
from orders.payloads import Line, Order, rest, sign

NAME = "chaos"  # of the sessions
PROCESSES = 4
SECRET = "chaos-secret-of-the-webhooks"
ACCOUNT = "00000000-0000-4000-8000-0000000000ca"
SKUS = [f"CHAOS-{n}" for n in range(6)]
STOCK = 150  # not enough for all orders, so that some wait
MOVES: tuple[tuple[str, LiteralString], ...] = (
    ("Filling print", "select public.print_barcode(p_order_id => %s)"),
    ("Filling complete", "select public.complete_filling(%s)"),
    ("Covering start", "select public.start_covering(%s)"),
    ("Covering complete", "select public.complete_covering(%s)"),
    ("Decorating start", "select public.start_decorating(%s)"),
    ("Decorating complete", "select public.complete_decorating(%s)"),
    ("Packing start", "select public.start_packing(%s)"),
    ("Packing complete", "select public.complete_packing(%s)"),
)
INGEST: LiteralString = (
    "select public.ingest_shopify_webhook('bannos.myshopify.com', %s, %s, %s, %s)"
)
ADJUST: LiteralString = (
    "select public.adjust_accessory_stock(id, %s, 'correction', %s) "
    "from public.inventory_items where sku = %s"
)
ENQUEUE: LiteralString = "select public.enqueue_work('chaos', %s)"
CLAIM: LiteralString = (
    "select to_jsonb(job) from public.claim_work('{chaos}', 'chaos', 3, '2 s') as job"
)


def stock_up(dsn: str) -> None:
    """Adds the account, the secret and the stock that the calls need. As the migration role."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("select app.store_shop_secret('bannos', 'webhook', %s)", (SECRET,))
        conn.execute(
            "insert into public.staff_shared (user_id, full_name, role, approved) "
            "values (%s, 'Chaos', 'Admin', true)",
            (ACCOUNT,),
        )
        conn.execute(
            "insert into public.inventory_items (kind, sku, title, category) "
            "select 'accessory', sku, sku, 'candle' from unnest(%s::text[]) as sku",
            (SKUS,),
        )
        conn.execute(
            "select app.move_stock(id, %s, 'adjust', 'opening') from public.inventory_items",
            (STOCK,),
        )


@contextmanager
def load(dsn: str, tick_dsn: str, seed: str, folder: Path) -> Iterator[list[Path]]:
    """Calls RPCs from several processes during the block. Yields the books that they write.

    Connection strings may name several hosts. A process takes the one that accepts writes.
    """
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    folder.mkdir()
    *written, ticks = (folder / f"{n}.jsonl" for n in range(PROCESSES + 1))
    processes = [
        context.Process(target=_work, args=(n, dsn, seed, book, stop))
        for n, book in enumerate(written)
    ]
    processes.append(context.Process(target=_tick, args=(tick_dsn, ticks, stop)))
    for process in processes:
        process.start()
    try:
        yield [*written, ticks]
    finally:
        stop.set()
        for process in processes:
            process.join(60)
        late = [process for process in processes if process.is_alive()]
        for process in late:
            process.kill()
        assert not late, "a caller hangs"
        assert all(process.exitcode == 0 for process in processes), "a caller failed"


def _work(n: int, dsn: str, seed: str, path: Path, stop: Event) -> None:
    with path.open("w", buffering=1) as file:
        caller = Caller(n, dsn, random.Random(f"{seed} {n}"), Book(file))
        while not stop.is_set():
            caller.step()
        caller.close()


def _tick(dsn: str, path: Path, stop: Event) -> None:
    """Runs the clock of the bakery."""
    with path.open("w", buffering=1) as file:
        book = Book(file)
        while not stop.wait(0.3):
            book.ask("tick", "")
            try:
                with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as conn:
                    conn.execute("select app.run_task(due.name) from app.due_tasks() as due (name)")
                book.note("done", "tick", "")
            except psycopg.Error as error:
                book.note("unknown", "tick", "", error.sqlstate or books.NO_CONNECTION)


class Caller:
    """One process of the API. After an answer that never came, Shopify sends a webhook again."""

    def __init__(self, n: int, dsn: str, rng: random.Random, book: Book) -> None:
        self.n, self.dsn, self.rng, self.book = n, dsn, rng, book
        self.conn: Connection | None = None
        self.count = 0
        self.again: list[tuple[str, str, str, str]] = []  # webhooks without an answer
        self.orders: dict[str, int] = {}  # the next move of each order

    def close(self) -> None:
        if self.conn:
            self.conn.close()
            self.conn = None

    def step(self) -> None:
        if self.rng.random() < 0.03:
            self.close()  # pools renew their connections
        weights = {
            self.receive: 5,
            self.move: 12,
            self.edit: 2,
            self.cancel: 1,
            self.adjust: 3,
            self.enqueue: 3,
            self.serve: 4,
            self.plan: 1,
        }
        self.rng.choices(list(weights), list(weights.values()))[0]()

    def new(self, kind: str) -> str:
        self.count += 1
        return f"{kind} {self.n} {self.count}"

    def call(
        self, kind: str, key: str, service: bool, query: LiteralString, *parameters: object
    ) -> Any:
        """Calls in a transaction of its own. Returns the answers, or None if none is sure."""
        self.book.ask(kind, key)
        claims = {"role": "service_role"} if service else {"role": "authenticated", "sub": ACCOUNT}
        try:
            if self.conn is None or self.conn.closed:
                self.conn = psycopg.connect(
                    self.dsn,
                    autocommit=True,
                    connect_timeout=5,
                    application_name=NAME,
                    options="-c lock_timeout=1s",
                )
            with self.conn.transaction():
                self.conn.execute(
                    "select set_config('role', %s, true), "
                    "set_config('request.jwt.claims', %s, true)",
                    (claims["role"], json.dumps(claims)),
                )
                answers = [row[0] for row in self.conn.execute(query, parameters)]
        except psycopg.Error as error:
            refused = (error.sqlstate or "").startswith("PT")
            state = (
                str(error.diag.message_hint) if refused else error.sqlstate or books.NO_CONNECTION
            )
            self.book.note("refused" if refused else "unknown", kind, key, state)
            if not refused:
                self.close()
                time.sleep(0.05)  # as a client backs off
            return None
        self.book.note("done", kind, key)
        return answers

    # The calls

    def receive(self) -> None:
        if not self.again:
            self.count += 1
            number = (self.n + 1) * 1_000_000 + self.count
            lines = (Line("Birthday Cake", variant="Medium / Vanilla"), *self.candles())
            body = json.dumps(rest(Order(number, lines)))
            self.again.append((str(uuid4()), "orders/create", body, f"bannos-{number}"))
        webhook_id, topic, body, order_id = self.again[0]
        kind = "order" if topic == "orders/create" else "cancel"
        signature = sign(body, SECRET)
        if self.call(kind, order_id, True, INGEST, topic, webhook_id, signature, body) is None:
            return
        self.again.pop(0)
        if kind == "order":
            self.orders[order_id] = 0

    def candles(self) -> list[Line]:
        skus = self.rng.sample(SKUS, self.rng.randint(0, 2))
        return [Line(f"Candle {sku}", sku=sku, quantity=self.rng.randint(1, 2)) for sku in skus]

    def some_order(self) -> str | None:
        open_orders = [key for key, move in self.orders.items() if move < len(MOVES)]
        return self.rng.choice(open_orders) if open_orders else None

    def move(self) -> None:
        if order_id := self.some_order():
            name, query = MOVES[self.orders[order_id]]
            if self.call("move", f"{order_id} {name}", False, query, order_id) is not None:
                self.orders[order_id] += 1

    def edit(self) -> None:
        if order_id := self.some_order():
            note = self.new("note")
            query: LiteralString = "select public.update_order_notes(%s, p_notes => %s)"
            self.call("edit", note, False, query, order_id, note)

    def cancel(self) -> None:
        if order_id := self.some_order():
            del self.orders[order_id]
            number = int(order_id.partition("-")[2])
            at = "2025-11-01T10:10:00+11:00"
            body = json.dumps(rest(Order(number, cancelled_at=at)) | {"updated_at": at})
            self.again.append((str(uuid4()), "orders/cancelled", body, order_id))

    def adjust(self) -> None:
        sku, change = self.rng.choice(SKUS), self.rng.choice([-2, -1, 3, 5])
        reference = self.new("stock")
        self.call("stock", reference, False, ADJUST, change, reference, sku)

    def enqueue(self) -> None:
        key = self.new("job")
        self.call("job", key, True, ENQUEUE, json.dumps({"key": key}))

    def serve(self) -> None:
        """Claims jobs and completes them, some of them too late."""
        jobs = self.call("claim", "", True, CLAIM)
        if not jobs or self.rng.random() < 0.05:  # this worker dies
            return
        for job in jobs:
            key = job["payload"]["key"]
            query: LiteralString = (
                "select 1 from public.complete_work(%s, %s) as done where done = 1"
            )
            done = self.call("claim", "", True, query, job["token"], [job["id"]])
            if done:
                self.book.note("done", "finish", key)

    def plan(self) -> None:
        """Makes a project with a sub-project, and completes a row in it."""
        name = self.new("project")
        project = self.uuid("project", name, "select public.create_project(%s)", name)
        child = project and self.uuid(
            "project",
            f"{name} inside",
            "select public.create_subproject(%s, %s)",
            project,
            f"{name} inside",
        )
        task = child and self.uuid("claim", "", "select public.create_task(%s)", name)
        row = task and self.uuid(
            "claim", "", "select public.create_assignment(%s, %s)", child, task
        )
        if row:
            self.call("row", name, False, "select public.complete_assignment(%s)", row)

    def uuid(self, kind: str, key: str, query: LiteralString, *parameters: object) -> str | None:
        made = self.call(kind, key, False, query, *parameters)
        return str(made[0]["uuid"]) if made else None
