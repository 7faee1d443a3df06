"""The command retention: the months that a table no longer keeps."""

from dataclasses import asdict
from typing import Annotated

import typer

from bakehouse import output
from bakehouse.commands.context import Database, command
from bakehouse.migrations import apply
from bakehouse.output import Result
from bakehouse.shop import retention as months

app = typer.Typer()


@command(app, "retention")
def retention(
    here: Database,
    apply_: Annotated[bool, typer.Option("--apply", help="Detach the old months.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for sessions that read a month.")
    ] = 60,
) -> Result:
    """List the months of events and stock that are older than their table keeps.

    With --apply, takes them off their table while the shop works. A detached month stays, as a
    table of its own. An interrupted run is finished by the next.
    """
    if apply_:
        with here.connected(writes=True) as conn, apply.lock(conn, 10, output.say):
            for month in months.months(conn):
                if month.due:
                    months.detach(conn, month, wait, output.say)
                    output.say(f"detached {month.name}")
            found = months.months(conn)
    else:
        with here.connected() as conn:
            found = months.months(conn)
    facts = {"months": [asdict(one) for one in found]}
    return Result(facts, _told(found))


def _told(found: list[months.Month]) -> str:
    if not found:
        return "no month is older than its table keeps"
    rows = [(one.name, one.parent, one.state, f"{one.bytes // 1024:,} kB") for one in found]
    lines = [output.table(("month", "table", "state", "size"), rows)]
    if any(one.due for one in found):
        lines.append("`bakehouse retention --apply` detaches them.")
    if gone := next((one for one in found if one.state == "detached"), None):
        lines += [
            "Export a detached month, check the file, and then drop the table:",
            f"  pg_dump -Fc -t public.{gone.name} -f {gone.name}.dump",
            f"  psql -c \"set lock_timeout = '2s'\" -c 'drop table public.{gone.name}'",
        ]
    return "\n".join(lines)
