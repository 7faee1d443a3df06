-- M1 settings: what an Admin may decide: each key with its shape and its default.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create table if not exists app.setting_keys (
  key text primary key,
  shape jsonpath not null,
  needs text not null,
  default_value jsonb not null check ((default_value @@ shape) is true),
  store_defaults jsonb not null default '{}' check (jsonb_typeof(store_defaults) = 'object'),
  meaning text not null
);
alter table app.setting_keys enable row level security;
comment on table app.setting_keys is
'Every setting there is. What is not listed cannot be set: no secret ever is.';
comment on column app.setting_keys.shape is 'What a value has to satisfy; strict, so that [x] is not x.';
comment on column app.setting_keys.needs is 'The shape in words, for who got it wrong.';
comment on column app.setting_keys.store_defaults is
'By store, where the default is not that of the others.';

insert into app.setting_keys (key, shape, needs, default_value, store_defaults, meaning)
values
(
  'flavours',
  'strict $.type() == "array" && $.size() > 0 && $.size() <= 100 && !exists($[*] ? (
    @.type() != "string" || !(@ like_regex "^\\S(.{0,98}\\S)?$")))',
  'a list of 1 to 100 names, none blank or padded',
  '["Vanilla", "Chocolate", "Strawberry"]',
  '{
    "bannos": ["Vanilla", "Chocolate", "Strawberry", "Mango", "Hazelnut", "Pistachio"],
    "flourlane": [
      "Vanilla", "Chocolate", "Strawberry", "Caramel", "Lemon", "Coffee", "Carrot", "Red Velvet"
    ]
  }',
  'The flavours to choose from.'
),
(
  'storage_locations',
  'strict $.type() == "array" && $.size() > 0 && $.size() <= 100 && !exists($[*] ? (
    @.type() != "string" || !(@ like_regex "^\\S(.{0,98}\\S)?$")))',
  'a list of 1 to 100 names, none blank or padded',
  '[
    "Store Fridge", "Store Freezer", "Kitchen Coolroom", "Kitchen Freezer", "Basement Coolroom"
  ]',
  '{"flourlane": [
    "Store Fridge", "Store Freezer", "Kitchen Coolroom", "Kitchen Freezer", "Basement Coolroom",
    "Display Case"
  ]}',
  'Where a cake may stand.'
),
(
  'printing_settings',
  'strict $.type() == "object" && !exists($.keyvalue() ? (!(
    (@.key == "printer_name" || @.key == "paper_size" || @.key == "barcodePrefix")
      && @.value.type() == "string" && @.value like_regex "^.{0,100}$"
    || (@.key == "auto_print" || @.key == "print_barcodes" || @.key == "print_labels")
      && @.value.type() == "boolean"
    || @.key == "orientation" && @.value.type() == "string"
      && (@.value == "portrait" || @.value == "landscape")
    || @.key == "ticketSize" && @.value.type() == "string"
      && (@.value == "58mm" || @.value == "80mm" || @.value == "custom")
    || @.key == "copies" && @.value.type() == "number"
      && (@.value == 1 || @.value == 2 || @.value == 3)
  )))',
  'an object of printer_name, paper_size and barcodePrefix (text), auto_print, print_barcodes and '
  'print_labels (boolean), orientation (portrait, landscape), ticketSize (58mm, 80mm, custom), '
  'copies (1 to 3)',
  '{
    "printer_name": "", "paper_size": "A4", "orientation": "portrait", "auto_print": false,
    "print_barcodes": true, "print_labels": true, "ticketSize": "80mm", "copies": 1,
    "barcodePrefix": ""
  }',
  '{}',
  'How tickets are printed. A property left out has its default.'
),
(
  'dueDates.defaultDue',
  'strict $ like_regex "^(today|\\+([1-9]|[1-9][0-9]) days?)$"',
  'today, +1 day, or +2 days up to +99 days',
  '"+1 day"', '{}',
  'The due date a new order is offered.'
),
(
  'dueDates.allowedDays',
  'strict $.type() == "array" && $.size() == 7 && exists($[*] ? (@ == true))
    && !exists($[*] ? (@.type() != "boolean"))',
  'seven booleans, Monday to Sunday, at least one of them true',
  '[true, true, true, true, true, true, false]', '{}',
  'The days of the week on which orders can be due.'
),
(
  'dueDates.blackoutDates',
  'strict $.type() == "array" && $.size() <= 1000 && !exists($[*] ? (
    @.type() != "string" || !(@ like_regex "^[12][0-9]{3}-[0-9]{2}-[0-9]{2}$")
    || (@.datetime("YYYY-MM-DD").type() == "date") is unknown))',
  'a list of up to 1000 dates, each YYYY-MM-DD',
  '[]', '{}',
  'Dates on which no order can be due.'
),
(
  'monitor.density',
  'strict $ == "compact" || $ == "cozy"', 'compact or cozy',
  '"cozy"', '{}',
  'How closely the kitchen monitors set their rows.'
),
(
  'monitor.autoRefresh',
  'strict $ == 15 || $ == 30 || $ == 60', '15, 30 or 60',
  '30', '{}',
  'After how many seconds the kitchen monitors read again.'
),
(
  'inventory_tracking_enabled',
  'strict $.type() == "boolean"', 'true or false',
  'false', '{}',
  'Whether orders take their parts out of stock.'
),
(
  'photo_required_stages',
  'strict $.type() == "array" && !exists($[*] ? (@.type() != "string"
    || !(@ == "Filling" || @ == "Covering" || @ == "Decorating" || @ == "Packing")))',
  'a list of stages: Filling, Covering, Decorating, Packing',
  '[]', '{}',
  'The stages that cannot be completed without a photo.'
),
(
  'active_shift_required',
  'strict $.type() == "boolean"', 'true or false',
  'false', '{}',
  'Whether an order can be assigned only to somebody on shift.'
)
on conflict (key) do update
  set
    shape = excluded.shape, needs = excluded.needs, default_value = excluded.default_value,
    store_defaults = excluded.store_defaults, meaning = excluded.meaning;

create table if not exists public.settings (
  store text references public.stores (code),
  key text not null references app.setting_keys (key),
  value jsonb not null,
  created_at timestamptz not null default app.now(),
  updated_at timestamptz not null default app.now(),
  constraint settings_key unique nulls not distinct (store, key)
);
create index if not exists settings_key_idx on public.settings (key);
alter table public.settings enable row level security;
comment on table public.settings is
'What has been set, and nothing else: read get_setting, which knows the defaults.';
comment on column public.settings.store is
'Null: every store that has no value of its own. Callers spell it global.';
grant select on table public.settings to authenticated;

create or replace function app.setting(p_store text, p_key text)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_value jsonb;
begin
  select
    case jsonb_typeof(keys.default_value)
      when 'object' then keys.default_value || chosen.value
      else chosen.value
    end
  into v_value
  from app.setting_keys as keys
  left join public.settings as own on own.key = keys.key and own.store = p_store
  left join public.settings as shared on shared.key = keys.key and shared.store is null
  cross join lateral coalesce(
    own.value, shared.value, keys.store_defaults -> p_store, keys.default_value
  ) as chosen (value)
  where keys.key = p_key;
  if not found then
    perform app.fail(
      'BAD_INPUT', 'No such setting.',
      jsonb_build_object('keys', array(select keys.key from app.setting_keys as keys order by 1))
    );
  end if;
  return v_value;
end;
$$;
comment on function app.setting is
'The value in force: the store''s own, else the one for every store, else the default. Never null.

A null store asks for the value of every store. Raises BAD_INPUT for a key that does not exist.';

create or replace function app.check_setting(p_key text, p_value jsonb)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_key app.setting_keys;
  v_inner jsonb;
begin
  select keys.key, keys.shape, keys.needs into v_key.key, v_key.shape, v_key.needs
  from app.setting_keys as keys where keys.key = p_key;
  if p_value @@ v_key.shape then
    return p_value;
  end if;
  if jsonb_typeof(p_value) = 'string' then
    begin
      v_inner := (p_value #>> '{}')::jsonb;
    exception
      -- not JSON, a number too large, nested too deeply: no value inside
      when data_exception or program_limit_exceeded then
        v_inner := null;
    end;
    if v_inner @@ v_key.shape then
      return v_inner;
    end if;
  end if;
  perform app.setting(null, p_key); -- refuses a key that does not exist
  perform app.fail(
    'BAD_INPUT', format('%s has to be %s.', p_key, v_key.needs), jsonb_build_object('key', p_key)
  );
  return null;
end;
$$;
comment on function app.check_setting is
'The value as it may be stored. One that comes as JSON inside a string, as old clients send it, is unwrapped.

Raises BAD_INPUT for a key that does not exist and for a value of another shape, null included.';

create or replace function public.get_setting(p_store text, p_key text)
returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff', nullif(p_store, 'global'));
  if p_store is null then
    perform app.fail('BAD_INPUT', 'Say which store, or global.');
  end if;
  return app.setting(nullif(p_store, 'global'), p_key);
end;
$$;
comment on function public.get_setting is
'One setting of a store, or of every store (global): what has been set, else the default.

Role: Staff. Errors: BAD_INPUT (no such store or key).';
grant execute on function public.get_setting to authenticated;

create or replace function public.get_settings(p_store text)
returns table (store text, key text, value jsonb, created_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff', nullif(p_store, 'global'));
  return query
  select p_store, keys.key, public.get_setting(p_store, keys.key), own.created_at
  from app.setting_keys as keys
  left join public.settings as own
    on own.key = keys.key and own.store is not distinct from nullif(p_store, 'global')
  order by keys.key;
end;
$$;
comment on function public.get_settings is
'Every setting of a store, or of every store (global), with the value in force.

created_at is null where the store has set nothing itself.

Role: Staff. Errors: BAD_INPUT (no such store).';
grant execute on function public.get_settings to authenticated;

create or replace function public.set_setting(p_store text, p_key text, p_value jsonb)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text := nullif(p_store, 'global');
  v_value jsonb;
  v_old jsonb;
begin
  perform app.require_every_store('Admin', v_store);
  if p_store is null then
    perform app.fail('BAD_INPUT', 'Say which store, or global.');
  end if;
  v_value := app.check_setting(p_key, p_value);
  -- one writer of a key at a time, so that the audit log has the value that was replaced
  perform from app.setting_keys as keys where keys.key = p_key for no key update;
  v_old := (
    select settings.value from public.settings as settings
    where settings.key = p_key and settings.store is not distinct from v_store
  );
  if v_old is distinct from v_value then
    insert into public.settings (store, key, value) values (v_store, p_key, v_value)
    on conflict on constraint settings_key do update set value = excluded.value;
    perform app.audit(
      'set_setting', v_store, p_key, jsonb_build_object('old', v_old, 'new', v_value)
    );
  end if;
  return true;
end;
$$;
comment on function public.set_setting is
'Set a setting for a store, or with global for every store that has no value of its own.

For Admins of the store; global for Admins of every store. Audited with the old value, null for none. The same value again changes nothing. Null is refused: reset_setting goes back to the default.

Role: Admin. Errors: BAD_INPUT (no such store or key, wrong shape).';
grant execute on function public.set_setting to authenticated;

create or replace function public.reset_setting(p_store text, p_key text)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_store text := nullif(p_store, 'global');
  v_old jsonb;
begin
  perform app.require_every_store('Admin', v_store);
  perform public.get_setting(p_store, p_key); -- refuses a key that does not exist
  perform from app.setting_keys as keys where keys.key = p_key for no key update; -- as set_setting
  delete from public.settings as settings
  where settings.key = p_key and settings.store is not distinct from v_store
  returning settings.value into v_old;
  if v_old is null then
    return false;
  end if;
  perform app.audit('reset_setting', v_store, p_key, jsonb_build_object('old', v_old));
  return true;
end;
$$;
comment on function public.reset_setting is
'Take back what was set for a store, or with global for every store. False: nothing was.

A store then follows the value for every store, else the default.

Role: Admin. Errors: BAD_INPUT (no such store or key).';
grant execute on function public.reset_setting to authenticated;

create or replace trigger settings_set_updated_at
before update on public.settings
for each row execute function app.set_updated_at();

do $$ -- guarded, not dropped: on Supabase a policy statement locks the platform's own tables
begin
  if not exists (select from pg_policies where policyname = 'settings_select_authenticated') then
    create policy settings_select_authenticated on public.settings
    for select to authenticated
    using (
      (select app.is_staff())
      and (store is null or store = any ((select app.my_stores())::text[]))
    );
  end if;
end;
$$;

select app.assert_grants();

commit;
