-- M0 audit: the audit log, and messages to listeners.

begin;
set local lock_timeout = '5s';

-- On Supabase only the migration role may call realtime.send, and this right cannot be granted.
-- So app.broadcast belongs to the migration role there. Elsewhere app.broadcast does nothing.
do $$
begin
  if to_regprocedure('realtime.send(jsonb, text, text, boolean)') is not null then
    create or replace function app.broadcast(p_topic text, p_payload jsonb)
    returns void
    language sql volatile security definer set search_path = pg_catalog, pg_temp
    as $body$
      select realtime.send(p_payload, p_topic, 'bakehouse', true);
    $body$;
    alter function app.broadcast(text, jsonb) owner to current_user;
  else
    create or replace function app.broadcast(p_topic text, p_payload jsonb)
    returns void
    language sql volatile set search_path = pg_catalog, pg_temp
    as $body$
      select;
    $body$;
    alter function app.broadcast(text, jsonb) owner to bakehouse_owner;
  end if;
end;
$$;
comment on function app.broadcast is
'Sends a message to the private channel bakehouse of Supabase Realtime. Does nothing where Realtime does not exist.';
revoke all on function app.broadcast(text, jsonb)
from public, anon, authenticated, service_role;
grant execute on function app.broadcast(text, jsonb) to bakehouse_owner;

set local role bakehouse_owner;

create sequence if not exists public.audit_log_id_seq maxvalue 8796093022207; -- 2^43 - 1
create table if not exists public.audit_log (
  id bigint primary key default (app.first_id() + nextval('public.audit_log_id_seq')),
  at_ts timestamptz not null default app.now(),
  actor_id uuid,
  actor_kind text not null check (actor_kind in ('staff', 'service', 'system')),
  action app.code not null,
  store text references public.stores (code),
  subject app.code,
  meta jsonb not null default '{}' check (jsonb_typeof(meta) = 'object')
);
alter sequence public.audit_log_id_seq owned by public.audit_log.id;
create index if not exists audit_log_store_idx on public.audit_log (store, at_ts desc);
create index if not exists audit_log_subject_idx on public.audit_log (subject, at_ts desc);
alter table public.audit_log enable row level security;
comment on table public.audit_log is
'Changes and their authors, for example of staff, settings and stock. stage_events has the events of orders. Append-only, and kept for seven years.';
comment on column public.audit_log.actor_kind is 'staff, service, or system for scheduled work.';
comment on column public.audit_log.actor_id is
'The account of the author. No foreign key, so that the entry outlives the account.';
comment on column public.audit_log.store is 'Null: the change concerns all stores.';
comment on column public.audit_log.subject is 'The id or key of the changed object.';
grant select on table public.audit_log to authenticated;

create or replace function app.append_only()
returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.fail(
    'APPEND_ONLY', format('Rows of %s cannot be changed or deleted.', tg_table_name),
    jsonb_build_object('table', tg_table_name, 'operation', tg_op)
  );
  return null;
end;
$$;
comment on function app.append_only is
'Trigger: rejects an update, delete or truncate, even by the owner of the table. Raises APPEND_ONLY.';

create or replace function app.audit_begins()
returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select app.now() - interval '84 months';
$$;
comment on function app.audit_begins is
'Returns the time from which entries of the audit log are kept: seven years ago.';

create or replace function app.purge_audit()
returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_count bigint;
begin
  delete from public.audit_log as entries
  where entries.id = any(array(
    select old.id
    from ( -- the first entries only, so that a run never reads the whole table
      select kept.id, kept.at_ts from public.audit_log as kept order by kept.id limit 1000
    ) as old
    where old.at_ts < app.audit_begins()
  ));
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;
comment on function app.purge_audit is
'Deletes the entries of the audit log that are no longer kept (app.audit_begins), at most 1,000. Returns their number.';

create or replace function app.emit(p_topic text, p_payload jsonb)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_notify('bakehouse', jsonb_build_object('topic', p_topic, 'payload', p_payload)::text);
  perform app.broadcast(p_topic, p_payload);
end;
$$;
comment on function app.emit is
'Notifies listeners when this transaction commits, by NOTIFY on channel bakehouse and by Supabase Realtime where present.

The payload must contain ids, never personal data, because every listener can read the payload.';

create or replace function app.audit(
  p_action text, p_store text, p_subject text, p_meta jsonb default '{}'
)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller app.caller := app.actor();
begin
  insert into public.audit_log (actor_id, actor_kind, action, store, subject, meta)
  values (
    v_caller.user_id, coalesce(v_caller.kind, 'system'), p_action, p_store, p_subject, p_meta
  );
end;
$$;
comment on function app.audit is
'Adds an entry to the audit log, in the transaction of the change. Without a caller the author is the system.';

create or replace trigger audit_log_append_only
before update or truncate on public.audit_log
for each statement execute function app.append_only();
create or replace trigger audit_log_keep before delete on public.audit_log
for each row when (old.at_ts >= app.audit_begins()) execute function app.append_only();

do $$
begin
  if not exists (select from pg_policies where policyname = 'audit_log_select_authenticated') then
    create policy audit_log_select_authenticated on public.audit_log
    for select to authenticated
    using (
      (select app.is_staff('Admin'))
      and (store is null or store = any ((select app.my_stores())::text[]))
    );
  end if;
end;
$$;

select app.assert_grants();
commit;
