-- What callers may rely on while an object exists. A change that ends a promise is breaking.
-- Run this with the search_path pg_catalog, as catalog.sql, so that names have their schema.
-- In a union, only the first query names the columns.
-- noqa: disable=AL03
with
relations as (
  select
    c.*,
    format('%I.%I', s.nspname, c.relname) as label
  from pg_class as c
  inner join schemas as s on c.relnamespace = s.oid
  where c.relkind in ('r', 'p', 'v', 'm', 'f')
),

functions as (
  select
    f.*,
    format('%I.%I(%s)', s.nspname, f.proname, pg_get_function_identity_arguments(f.oid)) as label
  from pg_proc as f
  inner join schemas as s on f.pronamespace = s.oid
)

select
  'column ' || r.label || '.' || quote_ident(a.attname) as object,
  'is ' || format_type(a.atttypid, a.atttypmod) as promise
from relations as r
inner join pg_attribute as a on r.oid = a.attrelid
where a.attnum > 0 and not a.attisdropped

union all
select
  'column ' || r.label || '.' || quote_ident(a.attname),
  'may be null'
from relations as r
inner join pg_attribute as a on r.oid = a.attrelid
where a.attnum > 0 and not a.attisdropped and not a.attnotnull and r.relkind in ('r', 'p')

union all
select
  'table ' || r.label,
  'has row level security'
from relations as r
where r.relrowsecurity

union all
select
  'relation ' || r.label,
  format('gives %s to %s', x.privilege_type, coalesce(nullif(x.grantee, 0)::regrole::text, 'all'))
from relations as r
cross join aclexplode(r.relacl) as x
where x.grantee <> r.relowner

union all
select
  'function ' || f.label,
  'returns ' || pg_get_function_result(f.oid)
from functions as f
where f.prokind in ('f', 'w')

union all
select
  'function ' || f.label,
  'can be called with ' || n || ' arguments'
from functions as f
cross join generate_series(f.pronargs - f.pronargdefaults, f.pronargs::int) as n

union all
select
  'function ' || f.label,
  'can be executed by ' || coalesce(nullif(x.grantee, 0)::regrole::text, 'all')
from functions as f
cross join aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) as x
where x.grantee <> f.proowner

union all
select
  format('type %I.%I', s.nspname, t.typname),
  'has the value ' || e.enumlabel
from pg_enum as e
inner join pg_type as t on e.enumtypid = t.oid
inner join schemas as s on t.typnamespace = s.oid
