-- M0 errors: every refusal a caller can meet, and the one way to raise it.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists app.error_codes (
  code text primary key check (code ~ '^[A-Z][A-Z_]*$'),
  sqlstate text not null check (sqlstate ~ '^PT[0-9]{3}$'),
  meaning text not null
);
alter table app.error_codes enable row level security;
comment on table app.error_codes is
'Every refusal a caller can meet: the symbol in HINT, and the SQLSTATE that becomes the HTTP status.';

insert into app.error_codes (code, sqlstate, meaning)
values
('BAD_INPUT', 'PT400', 'An argument that can never be right.'),
('NOT_SIGNED_IN', 'PT401', 'The call carries no identity.'),
('PERMISSION_DENIED', 'PT403', 'Not this caller: unknown, inactive, too low a role, wrong store.'),
('NOT_FOUND', 'PT404', 'No such row.'),
('AMBIGUOUS_SCAN', 'PT409', 'The scan fits more than one order; DETAIL lists them.'),
('APPEND_ONLY', 'PT409', 'A recorded fact is neither changed nor removed.'),
('CONFLICT', 'PT409', 'Somebody else got there first, or the row is already there.'),
('INVALID_STAGE', 'PT409', 'The right order at the wrong stage; DETAIL has both stages.'),
('PAUSED', 'PT503', 'Switched off for now; the same call will work later.')
on conflict (code) do update
  set sqlstate = excluded.sqlstate, meaning = excluded.meaning;

create or replace function app.fail(
  p_code text, p_message text, p_detail jsonb default '{}'
)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_sqlstate text := (
    select codes.sqlstate from app.error_codes as codes where codes.code = p_code
  );
begin
  if v_sqlstate is null then
    raise exception 'No error code %: add it to app.error_codes.', p_code;
  end if;
  raise exception using
    errcode = v_sqlstate, message = p_message, hint = p_code, detail = p_detail::text;
end;
$$;
comment on function app.fail is
'Refuse: raise the code with a sentence for people and facts for programs.

Never returns. Volatile, because the planner may call an immutable function early.';

create or replace function app.not_found(p_what text, p_key text, p_id anyelement)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.fail(
    'NOT_FOUND', format('No %s %s.', p_what, coalesce(p_id::text, 'given')),
    jsonb_build_object(p_key, p_id)
  );
end;
$$;
comment on function app.not_found is
'Raises NOT_FOUND: "No order bannos-1.", with the id in DETAIL under the given key.';

commit;
