-- The step $2 of the version $1, if its statement has the hash $3: its index, whether it is done,
-- the invalid indexes that earlier runs left, and whether a killed run has finished the statement.
-- The statement creates ($6) or drops the index $4. A new index lies in the schema of its table $5.
with
step as (
  select
    j.done,
    j.index_name,
    j.sql_hash = $3 as begun,
    coalesce(
      (
        select format('%I.%I', n.nspname, (parse_ident($4))[cardinality(parse_ident($4))])
        from pg_class as c
        inner join pg_namespace as n on c.relnamespace = n.oid
        where c.oid = to_regclass(coalesce($5, $4))
      ),
      -- a dropped index has no schema any more, but the journal knows it
      case when j.sql_hash = $3 then j.index_name end
    ) as index
  from (values ($1::text, $2::integer)) as given (version, ordinal)
  left join bakehouse.steps as j on given.version = j.version and given.ordinal = j.ordinal
),

leftovers as (
  select distinct one.name
  from step as s
  cross join unnest(array[s.index, s.index_name]) as one (name)
  inner join pg_index as i on i.indexrelid = to_regclass(one.name)
  where not i.indisvalid
)

select
  s.index,
  coalesce(s.begun and s.done, false) as done,
  array(select l.name from leftovers as l) as leftovers,
  coalesce(s.begun, false) and s.index is not null
  and (to_regclass(s.index) is not null) = $6 and not exists (select from leftovers) as finished
from step as s
