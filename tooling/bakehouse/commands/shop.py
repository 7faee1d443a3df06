"""The commands for the bakery and the shops: smoke, label, work and tick."""

import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import typer

from bakehouse import output
from bakehouse.commands.context import Database, command
from bakehouse.errors import BakehouseError
from bakehouse.output import Result
from bakehouse.shop import label, smoke
from bakehouse.shop import tick as ticks

app = typer.Typer()

Tick = Annotated[
    bool,
    typer.Option(
        "--tick/--no-tick",
        help="Run the scheduled tasks once a minute, unless pg_cron does. Not with --once.",
    ),
]


@command(app, "smoke")
def smoke_command(
    here: Database,
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write the steps here as JUnit XML, for CI.")
    ] = None,
) -> Result:
    """Take an order from webhook to box, in a transaction that is rolled back."""
    with here.connected(writes=True) as conn:
        steps = list(smoke.walk(conn))
    if junit:
        junit.write_bytes(smoke.junit(steps))
    facts = {"smoke": [asdict(step) for step in steps]}
    return Result(facts, smoke_table(steps), smoke_error(steps))


def smoke_error(steps: list[smoke.Outcome]) -> BakehouseError | None:
    failed = smoke.failures(steps)
    if not failed:
        return None
    return BakehouseError("smoke", "the smoke walk failed\n  " + "\n  ".join(failed))


def smoke_table(steps: list[smoke.Outcome]) -> str:
    rows = [
        (f"{step.duration_ms:7.1f} ms", step.role or "-", " ".join((step.name, step.detail)))
        for step in steps
    ]
    return output.table(("   time", "as", "smoke step"), rows)


@command(app, "label")
def label_command(
    here: Database,
    order_id: Annotated[str, typer.Argument(help="The order, such as bannos-18617-B.")],
    account: Annotated[
        UUID,
        typer.Option("--as", envvar="BAKEHOUSE_ACCOUNT", help="The account that prints the label."),
    ],
    form: Annotated[Literal["png", "zpl"], typer.Option("--format", help="Its format.")] = "png",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The file to write. The default is ORDER_ID.png or ORDER_ID.zpl.",
            show_default=False,
        ),
    ] = None,
    paper: Annotated[
        Literal["58mm", "80mm", "custom"] | None,
        typer.Option("--paper", help="The width, if not as set for the store."),
    ] = None,
) -> Result:
    """Call print_barcode as an account, and write the barcode of the order to a file."""
    path = out or Path(f"{order_id}.{form}")
    with here.connected(writes=True) as conn, conn.transaction():
        facts, settings = label.fetch_facts(conn, account, order_id)
        made = label.arrange(facts, label.WIDTHS[paper or settings["ticketSize"]])
        data = label.png(made) if form == "png" else label.zpl(made, settings["copies"])
        path.write_bytes(data)  # write first: the commit records the print
    return Result({"path": str(path)} | facts, f"wrote {path}")


@command(app, "work")
def work(
    here: Database,
    topic: Annotated[list[str], typer.Option("--topic", help="A topic. Can be repeated.")],
    once: Annotated[bool, typer.Option("--once", help="Stop when no job is ready.")] = False,
    batch: Annotated[int, typer.Option("--batch", help="Jobs to take at once.")] = 10,
    lease: Annotated[float, typer.Option("--lease", help="Seconds that a lease lasts.")] = 120,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for a shop.")] = 30,
    tick: Tick = True,
    health: Annotated[
        int | None,
        typer.Option(
            "--health",
            metavar="PORT",
            help="Answer GET /live and /ready on this port.",
            show_default=False,
        ),
    ] = None,
    shop_url_template: Annotated[
        str | None,
        typer.Option(
            "--shop-url-template",
            help="The API of a shop, with {domain} for its domain. The default is Shopify.",
            show_default=False,
        ),
    ] = None,
) -> Result:
    """Do the jobs of the work queue until stopped. Finishes the current job first."""
    from bakehouse.shop import health as healths  # imported here: HTTP loads slowly
    from bakehouse.shop import shopify
    from bakehouse.shop import worker as workers

    endpoint = shop_url_template or shopify.ENDPOINT
    options = workers.WorkerOptions(topic, batch, lease, timeout, endpoint, tick and not once)
    worker = workers.Worker(lambda: here.connected(writes=True), options, output.say)
    _on_signal(worker.stop, lease)
    with healths.served(worker, health) if health else nullcontext():
        worker.run(once)
    counts = {"done": worker.done, "failed": worker.failed}
    error = _work_error(worker.failed) if once else None
    return Result(counts, f"{worker.done} done, {worker.failed} failed", error)


def _work_error(failed: int) -> BakehouseError | None:
    if not failed:
        return None
    hint = "The lines with job_failed say why. A job that is not dead runs again later."
    return BakehouseError("unexpected", f"{output.count(failed, 'job')} failed", hint)


def _on_signal(stop: Callable[[], None], lease: float) -> None:
    """Stop at a signal: at once if idle, and within the lease if something does not answer."""

    def begin(*_: object) -> None:
        stop()
        signal.setitimer(signal.ITIMER_REAL, 0.9 * lease)

    def give_up(*_: object) -> None:
        raise BakehouseError(
            "busy",
            "told to stop, but the database or a shop does not answer",
            "The jobs at hand return to the queue when their lease ends.",
        )

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, begin)
    signal.signal(signal.SIGALRM, give_up)


@command(app, "tick")
def tick(here: Database) -> Result:
    """Run the scheduled tasks that are due, without pg_cron. Safe to run at any time."""
    with here.connected(writes=True) as conn:
        runs = sorted(ticks.run_due(conn), key=lambda run: run.task)
    failed = {run.task: run.error for run in runs if run.state == "failed"}
    facts = {
        "tasks": {run.task: run.result for run in runs if run.result is not None},
        "failed": failed,
        "busy": [run.task for run in runs if run.state == "busy"],
    }
    told = [(run.task, _outcome(run)) for run in runs if run.state != "not_due"]
    text = output.table(("task", "result"), told) if told else "no task is due"
    return Result(facts, text, _tick_error(failed))


def _outcome(run: ticks.Run) -> str:
    if run.state == "failed":
        return f"failed: {run.error}"
    if run.state == "busy":
        return "another session runs this task"
    return "-" if run.result is None else str(run.result)


def _tick_error(failed: dict[str, str | None]) -> BakehouseError | None:
    if not failed:
        return None
    return BakehouseError(
        "unexpected",
        f"{output.count(len(failed), 'task')} failed: {', '.join(failed)}",
        "The tasks run again a minute later. `bakehouse doctor` shows what goes on failing.",
    )
