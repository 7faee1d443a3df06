"""The functions that can be called: what the catalogue says of schema public."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import LiteralString

from bakehouse.database import Connection, act_as

EVERYBODY = "anyone signed in"
ROLES = (EVERYBODY, "Staff", "Supervisor", "Admin")  # as Role lines have them, ascending
REFUSALS = ("NOT_SIGNED_IN", "PERMISSION_DENIED")
RESULT = "a result"

_ROLE_LINE = re.compile(
    r"Role: (anyone signed in|(?:Staff|Supervisor|Admin)(?: or service_role)?|service_role)\."
    r"(?: Errors: (.+)\.)?"
)

_READ: LiteralString = """
select
  fun.proname,
  fun.oid::regprocedure::text,
  array(
    select
      concat_ws(
        ' ', arg.name, format_type(arg.type, null),
        'default ' || pg_get_function_arg_default(fun.oid, arg.position::integer)
      )
    from unnest(fun.proargtypes::oid[], fun.proargnames[:fun.pronargs])
      with ordinality as arg (type, name, position)
    order by arg.position
  ),
  case
    when fun.prorettype = 'record'::regtype and not fun.proretset then (
      select
        format(
          'record(%%s)', string_agg(
            format('%%s %%s', arg.name, format_type(arg.type, null)), ', ' order by arg.position
          )
        )
      from unnest(fun.proallargtypes, fun.proargnames, fun.proargmodes)
        with ordinality as arg (type, name, mode, position)
      where arg.mode <> 'i'
    )
    else pg_get_function_result(fun.oid)
  end,
  coalesce(obj_description(fun.oid, 'pg_proc'), ''),
  array(
    select api from unnest('{anon, authenticated, service_role}'::text[]) as api
    where has_function_privilege(api, fun.oid, 'execute')
  ),
  format(
    'select public.%%I(%%s)', fun.proname, (
      select
        string_agg(
          coalesce(quote_literal(%s::jsonb ->> arg.name), 'null') || '::' || arg.type::regtype,
          ', ' order by arg.position
        )
      from unnest(fun.proargtypes::oid[], fun.proargnames[:fun.pronargs])
        with ordinality as arg (type, name, position)
    )
  )
from pg_proc as fun
where fun.pronamespace = 'public'::regnamespace
and fun.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
and not exists (select from pg_depend as dep where dep.objid = fun.oid and dep.deptype = 'e')
order by fun.proname
"""

# one round trip for all of them; what a call did is undone before the next
_CALL: LiteralString = """
do $$
declare
  v_calls constant jsonb := current_setting('bakehouse.calls');
  v_answers jsonb := '{}';
  v_signature text;
  v_state text;
  v_hint text;
begin
  for v_signature in select jsonb_object_keys(v_calls) loop
    begin
      execute v_calls ->> v_signature;
      raise sqlstate 'BH000';
    exception
      when others then
        get stacked diagnostics v_state = returned_sqlstate, v_hint = pg_exception_hint;
        v_answers := v_answers || jsonb_build_object(v_signature, array[v_state, v_hint]);
    end;
  end loop;
  perform set_config('bakehouse.calls', v_answers::text, true);
end;
$$
"""


@dataclass(frozen=True)
class Function:
    """Without a Role line at the end of its comment, role is empty."""

    name: str
    signature: str
    parameters: list[str]
    result: str
    text: str  # the comment above its Role line
    role: str
    errors: str
    granted: list[str]  # the roles of the API that may execute it
    call: str

    @property
    def codes(self) -> list[str]:
        return re.findall(r"\b[A-Z][A-Z_]+\b", re.sub(r"\(.*?\)", "", self.errors))

    def lets_in(self, api: str, role: str = "") -> bool:
        """Whether its Role line does: a session of this role of the API, an account of that."""
        if api == "service_role":
            return self.role.endswith(api)
        return role in ROLES and self.role.split(" or ")[0] in ROLES[: ROLES.index(role) + 1]

    def kept_out(self, api: str, answer: str) -> bool:
        """42501 is a refusal only where there is no grant; else it is an error of the function."""
        return answer in REFUSALS or (answer == "42501" and api not in self.granted)


def read(conn: Connection, given: Mapping[str, str] | None = None) -> list[Function]:
    """Every function, by name, each with a call of it; arguments that are not given are null."""
    with conn.transaction():
        conn.execute("set local search_path = ''")
        found = conn.execute(_READ, (json.dumps(given or {}),)).fetchall()
    functions = []
    for name, signature, parameters, result, comment, granted, call in found:
        text, _, last = str(comment).rpartition("\n\n")
        line = _ROLE_LINE.fullmatch(last)
        role, errors = line.groups(default="") if line else ("", "")
        assert isinstance(parameters, list)
        assert isinstance(granted, list)
        facts = (str(name), str(signature), parameters, str(result), text, role, errors)
        functions.append(Function(*facts, granted, str(call)))
    return functions


def answers(
    conn: Connection, functions: Iterable[Function], api: str, account: str = ""
) -> dict[str, str]:
    """What each says when such a session calls it: a refusal's hint, else a SQLSTATE, or a result.

    Nothing they do stays.
    """
    calls = {function.signature: function.call for function in functions}
    with conn.transaction(force_rollback=True):
        act_as(conn, api, account)
        conn.execute("select set_config('bakehouse.calls', %s, true)", (json.dumps(calls),))
        conn.execute(_CALL)
        row = conn.execute("select current_setting('bakehouse.calls')").fetchone()
    assert row is not None
    said: dict[str, list[str]] = json.loads(str(row[0]))
    return {
        signature: RESULT if state == "BH000" else hint if hint in REFUSALS else state
        for signature, (state, hint) in said.items()
    }
