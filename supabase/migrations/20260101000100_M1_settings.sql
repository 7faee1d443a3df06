-- M1 settings: all settings with shape and default, and the values that Admins set.

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
'All settings. A key that is not listed here cannot be set. A secret is never a setting.';
comment on column app.setting_keys.shape is
'The jsonpath that a value must satisfy. Strict mode, so that [x] does not pass as x.';
comment on column app.setting_keys.needs is 'The shape in words, for error messages.';
comment on column app.setting_keys.store_defaults is
'The defaults of stores that differ from default_value, by store.';

insert into app.setting_keys (key, shape, needs, default_value, store_defaults, meaning)
values
(
  'flavours',
  'strict $.type() == "array" && $.size() > 0 && $.size() <= 100 && !exists($[*] ? (
    @.type() != "string" || !(@ like_regex "^\\S(.{0,98}\\S)?$")))',
  'a list of 1 to 100 names, each of 1 to 100 characters without spaces at the ends',
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
  'a list of 1 to 100 names, each of 1 to 100 characters without spaces at the ends',
  '[
    "Store Fridge", "Store Freezer", "Kitchen Coolroom", "Kitchen Freezer", "Basement Coolroom"
  ]',
  '{"flourlane": [
    "Store Fridge", "Store Freezer", "Kitchen Coolroom", "Kitchen Freezer", "Basement Coolroom",
    "Display Case"
  ]}',
  'The places where a cake can be stored.'
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
  'an object with any of printer_name, paper_size, barcodePrefix (text up to 100 characters), '
  'auto_print, print_barcodes, print_labels (boolean), orientation (portrait or landscape), '
  'ticketSize (58mm, 80mm or custom), copies (1 to 3)',
  '{
    "printer_name": "", "paper_size": "A4", "orientation": "portrait", "auto_print": false,
    "print_barcodes": true, "print_labels": true, "ticketSize": "80mm", "copies": 1,
    "barcodePrefix": ""
  }',
  '{}',
  'How tickets are printed. A missing property has its default.'
),
(
  'dueDates.defaultDue',
  'strict $ like_regex "^(today|\\+([1-9]|[1-9][0-9]) days?)$"',
  'today, +1 day, or +2 days up to +99 days', '"+1 day"', '{}',
  'The due date that is suggested for a new order.'
),
(
  'dueDates.allowedDays',
  'strict $.type() == "array" && $.size() == 7 && exists($[*] ? (@ == true))
    && !exists($[*] ? (@.type() != "boolean"))',
  'a list of seven booleans, Monday to Sunday, at least one of them true',
  '[true, true, true, true, true, true, false]', '{}',
  'The days of the week on which orders can be due.'
),
(
  'dueDates.blackoutDates',
  'strict $.type() == "array" && $.size() <= 1000 && !exists($[*] ? (
    @.type() != "string" || !(@ like_regex "^[12][0-9]{3}-[0-9]{2}-[0-9]{2}$")
    || (@.datetime("YYYY-MM-DD").type() == "date") is unknown))',
  'a list of up to 1000 dates, each YYYY-MM-DD', '[]', '{}',
  'Dates on which no order can be due.'
),
(
  'monitor.density', 'strict $ == "compact" || $ == "cozy"', 'compact or cozy', '"cozy"', '{}',
  'The row spacing on the kitchen monitors.'
),
(
  'monitor.autoRefresh', 'strict $ == 15 || $ == 30 || $ == 60', '15, 30 or 60', '30', '{}',
  'The refresh interval of the kitchen monitors in seconds.'
),
(
  'inventory_tracking_enabled', 'strict $.type() == "boolean"', 'true or false', 'false', '{}',
  'Whether orders take their parts from stock.'
),
(
  'photo_required_stages',
  'strict $.type() == "array" && !exists($[*] ? (@.type() != "string"
    || !(@ == "Filling" || @ == "Covering" || @ == "Decorating" || @ == "Packing")))',
  'a list of stages: Filling, Covering, Decorating, Packing', '[]', '{}',
  'The stages that cannot be completed without a photo.'
),
(
  'active_shift_required', 'strict $.type() == "boolean"', 'true or false', 'false', '{}',
  'Whether an order can be assigned only to staff on shift.'
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
-- a key may hold no null, but the store of a shared setting is null
alter table public.settings replica identity full;
alter table public.settings enable row level security;
comment on table public.settings is
'The values that were set, without the defaults. Read settings through get_setting.';
comment on column public.settings.store is
'Null: all stores without a value of their own. Callers write global for null.';
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
      'BAD_INPUT', 'There is no such setting. DETAIL lists all keys.',
      jsonb_build_object('keys', array(select keys.key from app.setting_keys as keys order by 1))
    );
  end if;
  return v_value;
end;
$$;
comment on function app.setting is
'Returns the value in force: of the store, else of all stores, else the default. Never null.

A null store means all stores. Raises BAD_INPUT for an unknown key.';

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
      -- the text is not JSON, or is JSON that Postgres cannot store
      when data_exception or program_limit_exceeded then
        v_inner := null;
    end;
    if v_inner @@ v_key.shape then
      return v_inner;
    end if;
  end if;
  perform app.fail(
    'BAD_INPUT', format('%s must be %s.', p_key, v_key.needs), jsonb_build_object('key', p_key)
  );
  return null;
end;
$$;
comment on function app.check_setting is
'Returns the value to store. Unwraps JSON inside a string, because old clients send such values.

The key must exist. Raises BAD_INPUT for a null or a value of the wrong shape.';

create or replace function public.get_setting(p_store text, p_key text)
returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform app.require('Staff', nullif(p_store, 'global'));
  if p_store is null then
    perform app.fail('BAD_INPUT', 'p_store must be a store, or global for all stores.');
  end if;
  return app.setting(nullif(p_store, 'global'), p_key);
end;
$$;
comment on function public.get_setting is
'Returns a setting of a store, or of all stores (global).

The value is that of the store, else that of all stores, else the default.

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
'Returns every setting of a store, or of all stores (global), with the value in force.

created_at is null where the store has no value of its own.

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
  perform public.get_setting(p_store, p_key); -- rejects no store, and an unknown key
  v_value := app.check_setting(p_key, p_value);
  -- lock the key, so that the audit log gets the value that this call replaces
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
'Sets a setting for a store, or with global for all stores without a value of their own. Returns true.

The caller must be an Admin of the store, for global an Admin of all stores. The audit log gets the old value. Setting the same value again changes nothing. Null is rejected. Call reset_setting to restore the default.

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
  perform public.get_setting(p_store, p_key); -- rejects an unknown key
  perform from app.setting_keys as keys where keys.key = p_key for no key update; -- lock the key
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
'Removes the value of a store, or with global the value of all stores. Returns false if there was none.

The store then has the value of all stores, else the default.

Role: Admin. Errors: BAD_INPUT (no such store or key).';
grant execute on function public.reset_setting to authenticated;

create or replace function app.audit_settings()
returns table (store text, what text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select given.store, format('setting %s must be %s', keys.key, keys.needs)
  from app.setting_keys as keys
  cross join lateral (
    select own.store, own.value from public.settings as own where own.key = keys.key
    union all
    select defaults.key, defaults.value from jsonb_each(keys.store_defaults) as defaults
  ) as given (store, value)
  where (
    case jsonb_typeof(keys.default_value)
      when 'object' then keys.default_value || given.value
      else given.value
    end @@ keys.shape
  ) is not true;
$$;
comment on function app.audit_settings is
'Invariant: each value of a setting, and each default of a store, has the shape of its key.';

create or replace trigger settings_set_updated_at before update on public.settings
for each row execute function app.set_updated_at();

do $$
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

select app.register_invariant('settings', 'audit_settings');

select app.assert_grants();
commit;
