-- M0 errors: the codes of all errors for callers, and the function that raises them.

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
'Every error that a caller can get: its symbol in HINT, and its SQLSTATE, which becomes the HTTP status.';

insert into app.error_codes (code, sqlstate, meaning)
values
('BAD_INPUT', 'PT400', 'An argument is missing or invalid.'),
('NOT_SIGNED_IN', 'PT401', 'The caller is not signed in.'),
('PERMISSION_DENIED', 'PT403', 'The caller is unknown, inactive, or lacks the role or store.'),
('NOT_FOUND', 'PT404', 'The object does not exist, or the caller may not see it.'),
('BAD_SIGNATURE', 'PT401', 'The webhook is not signed by a known store, or lacks a header.'),
('BUSY', 'PT503', 'Others hold locks that the call needs. The same call will work later.'),
('CANCELLED', 'PT409', 'The order is cancelled, so the action is not possible.'),
('AMBIGUOUS_SCAN', 'PT409', 'The scan matches more than one order. DETAIL lists them.'),
('APPEND_ONLY', 'PT409', 'Rows of this table cannot be changed or deleted.'),
('CONFLICT', 'PT409', 'The data does not allow this: a duplicate or a change by others.'),
('INVALID_STAGE', 'PT409', 'The order is not in the stage that the action needs (see DETAIL).'),
('PAUSED', 'PT503', 'Temporarily switched off. The same call will work later.')
on conflict (code) do update
  set sqlstate = excluded.sqlstate, meaning = excluded.meaning;

create or replace function app.shorten(p_text text)
returns text
language sql immutable strict set search_path = pg_catalog, pg_temp
as $$
  select case when length(p_text) > 200 then left(p_text, 200) || '…' else p_text end
$$;
comment on function app.shorten is
'Returns a text of at most 200 characters, for a refusal that quotes what the caller sent.';

create or replace function app.fail(p_code text, p_message text, p_detail jsonb default '{}')
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_sqlstate text := (
    select codes.sqlstate from app.error_codes as codes where codes.code = p_code
  );
  v_message text := p_message;
  v_detail jsonb := p_detail;
  v_long record;
begin
  if v_sqlstate is null then
    raise exception 'No error code %: add it to app.error_codes.', p_code;
  end if;
  for v_long in
    select facts.key, facts.value #>> '{}' as quoted from jsonb_each(p_detail) as facts
    where length(facts.value #>> '{}') > 200
    and (jsonb_typeof(facts.value) in ('string', 'number') or length(facts.value::text) > 4000)
  loop
    v_detail := v_detail || jsonb_build_object(v_long.key, app.shorten(v_long.quoted));
    v_message := replace(v_message, v_long.quoted, app.shorten(v_long.quoted));
  end loop;
  raise exception using
    errcode = v_sqlstate, message = left(v_message, 1000), hint = p_code, detail = v_detail::text;
end;
$$;
comment on function app.fail is
'Raises an error: SQLSTATE of the code, message for people, code in HINT, facts for programs in DETAIL.

Never returns. Quotes at most 200 characters of a value that is in DETAIL. Raises an internal error for a code that app.error_codes does not list. Volatile, because the planner may call an immutable function early.';

create or replace function app.check_range(
  p_name text, p_value anycompatible, p_least anycompatible, p_most anycompatible
)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if p_value not between p_least and p_most then
    perform app.fail(
      'BAD_INPUT', format('%s must be from %s to %s.', p_name, p_least, p_most),
      jsonb_build_object('field', p_name)
    );
  end if;
end;
$$;
comment on function app.check_range is
'Raises BAD_INPUT when a number, a time or an interval is outside its bounds, infinite or NaN. Accepts null.';

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
