-- M0 foreign rows: an alert for a migration that another tool ran. `bakehouse env mark` guards the
-- history of staging and prod, and its trigger marks the row.

begin;
set local lock_timeout = '5s';

-- Only the migration role may read the history, so app.foreign_rows belongs to the migration role.
-- plpgsql, because the table may not exist yet, and to_jsonb, because its columns may not.
create or replace function app.foreign_rows()
returns table (version text, name text, since timestamptz, database_user text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (
    select from pg_attribute as att
    where att.attrelid = to_regclass('supabase_migrations.schema_migrations')
    and att.attname = 'foreign_at' and not att.attisdropped
  ) then
    return;
  end if;
  return query
  select
    found.facts ->> 'version', found.facts ->> 'name', (found.facts ->> 'foreign_at')::timestamptz,
    found.facts ->> 'foreign_by'
  from (
    select to_jsonb(history) - 'statements' as facts
    from supabase_migrations.schema_migrations as history
  ) as found
  where found.facts ->> 'foreign_at' is not null;
end;
$$;
alter function app.foreign_rows() owner to current_user;
comment on function app.foreign_rows is
'Returns the rows of the history that another tool wrote and that nobody has adopted. Empty before `bakehouse env mark`.';
revoke all on function app.foreign_rows() from public, anon, authenticated, service_role;
grant execute on function app.foreign_rows() to bakehouse_owner;

set local role bakehouse_owner;

create or replace function app.foreign_alerts()
returns setof app.alert
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select
    'critical', 'FOREIGN_MIGRATION', history.since, null,
    format(
      'Database user %s wrote the migration %s into the history with another tool.',
      history.database_user, concat_ws(' ', history.version, history.name)
    ),
    format(
      'Read its SQL. Then run `bakehouse migrate repair adopt %s --reason "..."`.', history.version
    )
  from app.foreign_rows() as history;
$$;
comment on function app.foreign_alerts is
'Alerts: FOREIGN_MIGRATION, a migration that another tool ran on staging or prod. No deployment passes the gate until it is adopted.';

select app.register_hook('alerts', 15, 'foreign_alerts');

select app.assert_grants();
commit;
