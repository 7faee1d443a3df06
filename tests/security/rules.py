"""The rules for every object. Each function lists the objects that break its rule."""

from collections.abc import Callable, Iterator, Sequence
from uuid import uuid4

from bakehouse.database import Connection
from bakehouse.migrations import sqltext
from bakehouse.rpc import functions as rpcs
from rows import make_order, make_staff, values

MIGRATIONS = "migrations alone write it"
COPY = "a trigger copies it from orders, or computes it from columns with a limit"
UNLIMITED_TEXTS = {
    "app.advisory_locks.name": MIGRATIONS,
    "app.error_codes.code": MIGRATIONS,
    "app.error_codes.meaning": MIGRATIONS,
    "app.hooks.event": MIGRATIONS,
    "app.hooks.function": MIGRATIONS,
    "app.invariants.function": MIGRATIONS,
    "app.invariants.name": MIGRATIONS,
    "app.order_tally.store": COPY,
    "app.order_words.id": COPY,
    "app.order_words.store": COPY,
    "app.order_words.words": COPY,
    "app.setting_keys.key": MIGRATIONS,
    "app.setting_keys.meaning": MIGRATIONS,
    "app.setting_keys.needs": MIGRATIONS,
    "app.stage_transitions.action": MIGRATIONS,
    "app.stage_transitions.clears": MIGRATIONS,
    "app.stage_transitions.stamps": MIGRATIONS,
    "app.task_runs.name": COPY,
    "app.tasks.function": MIGRATIONS,
    "app.tasks.name": MIGRATIONS,
    "public.orders.queue_key": COPY,
    "public.webhook_deliveries.body": "a replay needs every byte that Shopify signed",
}

Rule = Callable[[Connection], list[str]]


def tables_have_row_security(db: Connection) -> list[str]:
    return values(
        db,
        """
        select oid::regclass::text from pg_class
        where relnamespace::regnamespace::text in ('public', 'app', 'private')
        and relkind in ('r', 'p') and not relrowsecurity
        """,
    )


def tables_have_a_replica_identity(db: Connection) -> list[str]:
    """A primary key, another chosen index, or the whole row.

    A publication of the table stops every update and delete of a table without one. Postgres 18
    does so too where a column of the key is generated.
    """
    return values(
        db,
        """
        select rel.oid::regclass::text from pg_class as rel
        where rel.relnamespace::regnamespace::text
          in ('public', 'app', 'private', 'bakehouse', 'supabase_migrations')
        and rel.relkind in ('r', 'p') and rel.relpersistence = 'p'
        and rel.relreplident <> 'f' and not exists (
          select from pg_index as ind
          where ind.indrelid = rel.oid and ind.indisvalid and ind.indimmediate
          and case rel.relreplident when 'd' then ind.indisprimary else ind.indisreplident end
          and not exists (
            select from pg_attribute as col
            where col.attrelid = rel.oid and col.attnum = any(ind.indkey) and col.attgenerated <> ''
          )
        )
        """,
    )


def api_roles_write_nothing(db: Connection) -> list[str]:
    """Checks effective rights, including rights through PUBLIC, a column or another role."""
    writes = "insert, update, delete, truncate, references, trigger"
    if db.info.server_version >= 170000:
        writes += ", maintain"
    return values(
        db,
        """
        select format('%%s on %%s', api, rel.oid::regclass)
        from pg_class as rel, unnest('{anon, authenticated, service_role}'::text[]) as api
        where rel.relnamespace::regnamespace::text in ('public', 'app', 'private')
        and case
          when rel.relkind in ('r', 'p', 'v', 'm', 'f') then
            has_table_privilege(api, rel.oid, %s)
            or has_any_column_privilege(api, rel.oid, 'insert, update, references')
          when rel.relkind = 'S' then
            has_sequence_privilege(api, rel.oid, 'usage, select, update')
        end
        """,
        writes,
    )


def anon_can_do_nothing(db: Connection) -> list[str]:
    """Checks functions and tables. Rights of PUBLIC would show as rights of anon."""
    return values(
        db,
        """
        select oid::regprocedure::text from pg_proc
        where pronamespace::regnamespace::text in ('public', 'app', 'private')
        and has_function_privilege('anon', oid, 'execute')
        union all
        select oid::regclass::text from pg_class
        where relnamespace::regnamespace::text in ('public', 'app', 'private')
        and relkind in ('r', 'p', 'v', 'm', 'f')
        and has_any_column_privilege('anon', oid, 'select')
        """,
    )


def functions_pin_their_search_path(db: Connection) -> list[str]:
    return values(
        db,
        """
        select oid::regprocedure::text from pg_proc
        where pronamespace::regnamespace::text in ('public', 'app', 'private')
        and not coalesce('search_path=pg_catalog, pg_temp' = any(proconfig), false)
        """,
    )


def one_role_owns_everything(db: Connection) -> list[str]:
    """Two functions read what only the migration role may read, with the right of their owner."""
    return values(
        db,
        """
        with objects (name, schema, owner) as (
          select oid::regprocedure::text, pronamespace, proowner from pg_proc
          union all select oid::regclass::text, relnamespace, relowner from pg_class
          union all select oid::regtype::text, typnamespace, typowner from pg_type
        )
        select format('%s belongs to %s', name, owner::regrole) from objects
        where schema::regnamespace::text in ('public', 'app', 'private')
        and owner::regrole::text <> 'bakehouse_owner'
        and not (name = 'app.sessions()' and pg_has_role(owner, 'pg_monitor', 'usage'))
        and not (name = 'app.foreign_rows()' and owner = current_user::regrole)
        """,
    )


def everything_has_a_comment(db: Connection) -> list[str]:
    return values(
        db,
        """
        with objects (name, schema, comment) as (
          select oid::regprocedure::text, pronamespace, obj_description(oid, 'pg_proc')
          from pg_proc
          union all
          select oid::regclass::text, relnamespace, obj_description(oid, 'pg_class')
          from pg_class where relkind in ('r', 'p', 'v', 'm', 'f')
          union all
          select typ.oid::regtype::text, typ.typnamespace, obj_description(typ.oid, 'pg_type')
          from pg_type as typ left join pg_class as rel on rel.oid = typ.typrelid
          where typ.typtype in ('e', 'd', 'r') or rel.relkind = 'c'
        )
        select name from objects
        where schema::regnamespace::text in ('public', 'app', 'private')
        and coalesce(btrim(comment), '') = ''
        """,
    )


def foreign_keys_have_an_index(db: Connection) -> list[str]:
    """The index begins with the columns of the key, in their order. It may skip only nulls.

    Without an index, changing the referenced row reads the whole table. An index in another order
    would do, but the linters of hosted platforms report it.
    """
    return values(
        db,
        """
        select format('%s of %s', con.conname, con.conrelid::regclass) from pg_constraint as con
        where con.contype = 'f'
        and con.connamespace::regnamespace::text in ('public', 'app', 'private')
        and not exists (
          select from pg_index as ind
          where ind.indrelid = con.conrelid and ind.indisvalid
          and (ind.indkey::int2[])[0:cardinality(con.conkey) - 1] = con.conkey
          and (
            ind.indpred is null
            or pg_get_expr(ind.indpred, ind.indrelid) in (
              select format('(%I IS NOT NULL)', col.attname) from pg_attribute as col
              where col.attrelid = con.conrelid and col.attnum = any(con.conkey)
            )
          )
        )
        """,
    )


def names_are_not_overloaded(db: Connection) -> list[str]:
    return values(
        db,
        """
        select format('%s.%s', pronamespace::regnamespace, proname) from pg_proc
        where pronamespace::regnamespace::text in ('public', 'app', 'private')
        group by pronamespace, proname having count(*) > 1
        """,
    )


def row_types_have_no_default(db: Connection) -> list[str]:
    """A default of a table's row type blocks ALTER TABLE on that table since Postgres 15.20."""
    return values(
        db,
        """
        select fun.oid::regprocedure::text from pg_proc as fun
        cross join unnest(fun.proargtypes[fun.pronargs - fun.pronargdefaults:]) as defaults (type)
        inner join pg_type as typ on typ.oid = defaults.type
        inner join pg_class as rel on rel.oid = typ.typrelid and rel.relkind <> 'c'
        where fun.pronamespace::regnamespace::text in ('public', 'app', 'private')
        and fun.pronargdefaults > 0
        """,
    )


def refusals_are_listed(db: Connection) -> list[str]:
    """Checks every code passed to app.fail, and every PTxxx that a body raises itself."""
    return values(
        db,
        r"""
        with raised (oid, code) as (
          select fun.oid, found[1] from pg_proc as fun,
          regexp_matches(fun.prosrc, 'app\.fail\(\s*''(\w+)''', 'g') as found
          union all
          select fun.oid, found[1] from pg_proc as fun,
          regexp_matches(fun.prosrc, '(?:errcode =|raise sqlstate) ''(PT\d+)''', 'g') as found
        )
        select format('%s raises %s', raised.oid::regprocedure, raised.code) from raised
        where not exists (select from app.error_codes as codes where codes.code = raised.code)
        """,
    )


def writes_have_a_where(db: Connection) -> list[str]:
    """API sessions refuse an UPDATE or DELETE without one, also inside definer functions."""
    bodies = db.execute(
        """
        select oid::regprocedure::text, coalesce(pg_get_function_sqlbody(oid), prosrc) from pg_proc
        where pronamespace::regnamespace::text in ('public', 'app', 'private')
        and prokind in ('f', 'p')
        """
    ).fetchall()
    return [
        f"{name}: {write}"
        for name, body in bodies
        for statement in sqltext.split(str(body))
        for write in _unbounded(statement.tokens)
    ]


def _unbounded(tokens: Sequence[str]) -> Iterator[str]:
    """Yields writes without a WHERE. A WHERE inside parentheses belongs to another statement."""
    neighbours = zip(("", *tokens), tokens, (*tokens[1:], ""), strict=False)
    for start, (before, word, after) in enumerate(neighbours):
        is_update = word == "update" and before not in ("for", "key") and after != "set"
        if not is_update and (word, after) != ("delete", "from"):
            continue  # not a statement: `for update`, or part of `on conflict` or `merge`
        own, depth = [], 0
        for token in tokens[start:]:
            depth += (token == "(") - (token == ")")
            if depth < 0:
                break
            own.append(token if depth == 0 else "")
        if "where" not in own:
            yield " ".join(filter(None, own))


def roles_are_as_the_comment_says(db: Connection) -> list[str]:
    """Calls each public function as every kind of caller, with null for all arguments.

    A caller that the Role line leaves out must be refused for their role. Every other caller must
    get a result or another refusal, never a bare error.
    """
    closed, inactive = make_staff(db, approved=False), make_staff(db, role="Admin", is_active=False)
    callers = [
        ("anon", "anon", "", ""),
        ("an account without sub", "authenticated", "", ""),
        ("a stranger", "authenticated", uuid4(), rpcs.EVERYBODY),
        ("an unapproved Staff", "authenticated", closed, rpcs.EVERYBODY),
        ("a deactivated Admin", "authenticated", inactive, rpcs.EVERYBODY),
        *((role, "authenticated", make_staff(db, role=role), role) for role in rpcs.ROLES[1:]),
        ("service_role", "service_role", "", ""),
    ]
    functions = rpcs.load(db)
    offenders = [f"{one.signature} has no Role line" for one in functions if not one.role]
    for label, api, account, role in callers:
        answers = rpcs.answers(db, functions, api, str(account))
        for function in functions:
            answer = answers[function.signature]
            kept_out = function.kept_out(api, answer)
            is_bare = answer != rpcs.RESULT and not answer.startswith("PT")
            if kept_out == function.lets_in(api, role) or (is_bare and not kept_out):
                offenders.append(f"{function.signature} answers {answer} to {label}")
    return offenders


def stores_are_kept_apart(db: Connection) -> list[str]:
    """Each function that takes a store or an order refuses an account of another store.

    The function may first refuse a missing argument or a row that does not exist.
    """
    admin = make_staff(db, role="Admin", store="flourlane")
    given = {"p_store": "bannos", "p_order_id": make_order(db, store="bannos")}
    functions = [
        function
        for function in rpcs.load(db, given)
        if any(parameter.split()[0] in given for parameter in function.parameters)
    ]
    answers = rpcs.answers(db, functions, "authenticated", str(admin))
    return [
        f"{function.signature} answers {answers[function.signature]} to an Admin of another store"
        for function in functions
        if not function.kept_out("authenticated", answers[function.signature])
        and answers[function.signature] not in ("PT400", "PT404")
    ]


def texts_have_a_limit(db: Connection) -> list[str]:
    """A text column has a domain, a foreign key, or a check of its length, values or pattern.

    UNLIMITED_TEXTS gives the reason for each of the others. An entry that is not needed breaks
    the rule too.
    """
    found = values(
        db,
        r"""
        select format('%%s.%%s.%%s', rel.relnamespace::regnamespace, rel.relname, col.attname)
        from pg_attribute as col
        inner join pg_class as rel on rel.oid = col.attrelid
        where rel.relnamespace::regnamespace::text in ('public', 'app', 'private')
        and rel.relkind in ('r', 'p') and not rel.relispartition
        and col.attnum > 0 and not col.attisdropped
        and format_type(col.atttypid, col.atttypmod) ~ '^(text|character varying)(\[\])?$'
        and not exists (
          select from pg_constraint as con
          where con.conrelid = rel.oid and col.attnum = any(con.conkey)
          and (con.contype = 'f' or con.contype = 'c' and pg_get_constraintdef(con.oid) ~ replace(
            %s, 'col', col.attname
          ))
        )
        """,
        r"\mlength\(col\) <= \d|\mcol = ANY \(ARRAY|\mcol ~ '\^[^*+']*\$'",
    )
    return sorted(set(found) ^ set(UNLIMITED_TEXTS))


def plpgsql_check_is_content(db: Connection) -> list[str]:
    """Returns the findings of the extension, which must be installed in schema extensions."""
    return values(
        db,
        """
        select format('%s: %s', fun.oid::regprocedure, found)
        from pg_proc as fun
        inner join pg_language as lang on lang.oid = fun.prolang and lang.lanname = 'plpgsql'
        left join pg_trigger as trg on trg.tgfoid = fun.oid and trg.tgparentid = 0
        cross join lateral extensions.plpgsql_check_function(
          fun.oid, coalesce(trg.tgrelid, 0), performance_warnings => false,
          oldtable => trg.tgoldtable, newtable => trg.tgnewtable
        ) as found
        where fun.pronamespace::regnamespace::text in ('public', 'app', 'private')
        and (trg.oid is not null or fun.prorettype <> 'trigger'::regtype)
        """,
    )


def rights(db: Connection) -> list[str]:
    """Returns every grant on our objects, including implied ones."""
    return values(
        db,
        """
        with objects (name, schema, owner, acl) as (
          select oid::regclass::text, relnamespace, relowner, coalesce(
            relacl, acldefault(case relkind when 'S' then 's'::"char" else 'r' end, relowner)
          ) from pg_class where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
          union all
          select format('%s.%I', attrelid::regclass, attname), relnamespace, relowner, attacl
          from pg_attribute inner join pg_class on pg_class.oid = attrelid
          where attacl is not null
          union all
          select oid::regprocedure::text, pronamespace, proowner,
          coalesce(proacl, acldefault('f', proowner)) from pg_proc
          union all
          select oid::regtype::text, typnamespace, typowner,
          coalesce(typacl, acldefault('T', typowner)) from pg_type
          union all
          select nspname, oid, nspowner, coalesce(nspacl, acldefault('n', nspowner))
          from pg_namespace
        )
        select concat_ws(' ', name, acl.grantee::regrole, acl.privilege_type, acl.is_grantable)
        from objects, aclexplode(objects.acl) as acl
        where schema::regnamespace::text in ('public', 'app', 'private')
        order by 1
        """,
    )


RULES: tuple[Rule, ...] = (
    tables_have_row_security,
    tables_have_a_replica_identity,
    api_roles_write_nothing,
    anon_can_do_nothing,
    functions_pin_their_search_path,
    one_role_owns_everything,
    everything_has_a_comment,
    foreign_keys_have_an_index,
    names_are_not_overloaded,
    row_types_have_no_default,
    refusals_are_listed,
    writes_have_a_where,
    roles_are_as_the_comment_says,
    stores_are_kept_apart,
    texts_have_a_limit,
)
