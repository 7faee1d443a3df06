-- Compare the mark $1 of this database with the database itself, reached at the address $2.
--
-- here      the mark was made in this database; a physical copy and a standby say so too
-- why       how this database differs from the one that was marked, or ''
-- timeline  from the name of a WAL file, because pg_control_checkpoint() is late after a promotion
with facts as (
  select
    $1::jsonb as mark,
    $2::text as address,
    $1::jsonb ->> 'env' as env,
    coalesce(($1::jsonb ->> 'timeline')::int, 0) as marked_timeline,
    array(select jsonb_array_elements_text($1::jsonb -> 'addresses')) as addresses,
    ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int as timeline,
    jsonb_build_object(
      'system_identifier', (select c.system_identifier::text from pg_control_system() as c),
      'database_oid', (
        select d.oid::bigint from pg_database as d
        where d.datname = current_database()
      )
    ) as place
),

compared as (
  select
    f.*,
    jsonb_contains(f.mark, f.place) as here,
    case
      when not jsonb_contains(f.mark, f.place)
        then format('this database is a copy of one that is %s', f.env)
      when f.env = 'dev' then '' -- its port may change
      when f.timeline <> f.marked_timeline
        then
          format(
            'this database is on timeline %s, and %s was marked on timeline %s',
            f.timeline, f.env, f.marked_timeline
          )
      when f.address <> all(f.addresses)
        then
          format(
            '%s is not on record as %s, which is at %s', f.address, f.env,
            coalesce(nullif(array_to_string(f.addresses, ' or '), ''), 'no address')
          )
      else ''
    end as why
  from facts as f
)

select
  jsonb_build_object(
    'here', c.here, 'copied', c.why <> '', 'why', c.why, 'now', c.place || jsonb_build_object(
      'timeline', c.timeline, 'marked_by', session_user, 'marked_at', clock_timestamp()
    )
  )
from compared as c
