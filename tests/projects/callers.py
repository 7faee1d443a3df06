"""Accounts that call the functions of projects."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from bakehouse.database import Connection
from calls import acting_as
from orders.races import Call
from rows import make_staff, values


@dataclass(frozen=True)
class Caller:
    """An account at the API. Ids are text, as the API gives them."""

    db: Connection
    account: UUID

    def rows(self, function: str, *arguments: object, **named: object) -> list[Any]:
        """Returns the answer of a function, row by row."""
        query, parameters = self._query(function, arguments, named)
        with acting_as(self.db, "authenticated", self.account):
            return [row[0] for row in self.db.execute(query, parameters)]

    def __call__(self, function: str, *arguments: object, **named: object) -> Any:
        """Returns the one value that a function returns."""
        (answer,) = self.rows(function, *arguments, **named)
        return answer

    def records(self, function: str, *arguments: object, **named: object) -> list[Any]:
        """Returns the rows of a function with several columns, each as a dict."""
        query, parameters = self._query(function, arguments, named)
        shaped = sql.SQL("select to_jsonb(answer) from ({}) as called (answer)").format(query)
        with acting_as(self.db, "authenticated", self.account):
            return [row[0] for row in self.db.execute(shaped, parameters)]

    def project(self, name: str = "Wedding", **attrs: object) -> str:
        return str(self("create_project", name, attrs)["uuid"])

    def template(self, name: str = "Wedding kit", **attrs: object) -> str:
        return self.project(name, is_template=True, **attrs)

    def task(self, title: str = "Tasting", **attrs: object) -> str:
        return str(self("create_task", title, attrs)["uuid"])

    def row(self, project: str, title: str = "Tasting", **attrs: object) -> str:
        """Adds a row for a new task with this title. Returns the row's id."""
        made = self("create_assignment", project, self.task(title), attrs)
        return str(made["uuid"])

    def inside(self, parent: str, name: str = "Sugar flowers", **attrs: object) -> str:
        """Adds a sub-project. Returns its id."""
        return str(self("create_subproject", parent, name, attrs)["uuid"])

    def link(self, child: str) -> Any:
        """Returns the row of a sub-project in its parent."""
        (row,) = self.db.execute(
            "select to_jsonb(rows) from public.project_assignments as rows "
            "where rows.child_project_uuid = %s",
            (child,),
        )
        return row[0]

    def get(self, project: str) -> Any:
        return self("get_project", project)

    def labels(self, project: str) -> list[str]:
        return [row["label"] for row in self.rows("list_assignments", project)]

    def waits(self, project: str) -> set[tuple[str, str]]:
        """Returns the dependencies of a project as pairs of labels."""
        rows = self.rows("list_assignments", project)
        label = {row["uuid"]: row["label"] for row in rows}
        return {(row["label"], label[other]) for row in rows for other in row["depends_on"]}

    def activities(self) -> list[str]:
        """Returns the recorded activities, oldest first."""
        return values(
            self.db, "select action from public.activities order by inserted_at, cmin::text::bigint"
        )

    @staticmethod
    def _query(
        function: str, arguments: tuple[object, ...], named: dict[str, object]
    ) -> tuple[sql.Composed, list[object]]:
        places = [sql.Placeholder()] * len(arguments)
        names = [sql.SQL("{} => %s").format(sql.Identifier(name)) for name in named]
        query = sql.SQL("select public.{}({})").format(
            sql.Identifier(function), sql.SQL(", ").join([*places, *names])
        )
        return query, [_adapted(argument) for argument in (*arguments, *named.values())]


def _adapted(argument: object) -> object:
    if isinstance(argument, dict):
        return Jsonb(argument)
    if isinstance(argument, list):
        return [UUID(item) for item in argument]
    return argument


def caller(db: Connection, role: str = "Supervisor") -> Caller:
    return Caller(db, make_staff(db, role=role))


def switch(db: Connection, enabled: str) -> None:
    """Switches the catalog on or off."""
    db.execute(
        "insert into public.settings (key, value) values ('entities_enabled', %s::jsonb) "
        "on conflict on constraint settings_key do update set value = excluded.value",
        (enabled,),
    )


def calling(account: UUID, function: str, *arguments: object) -> Call:
    """Returns one of two calls for orders.races.meet."""
    places = ", ".join(["%s"] * len(arguments))
    query = f"select public.{function}({places})"
    return Call(account, query, tuple(map(_adapted, arguments)))
