-- M3 stores: making a store, with everything that a store needs.
-- Needs: M2

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function public.create_store(
  p_code text, p_name text, p_scan_letter text, p_time_zone text, p_currency text,
  p_shop_domain text default null, p_settings jsonb default '{}'
)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule text;
begin
  perform app.require_every_store('Admin', null);
  if jsonb_typeof(p_settings) is distinct from 'object' then
    perform app.fail('BAD_INPUT', 'p_settings must be an object.');
  end if;
  -- One call at a time. Otherwise one would wait for the code of another, and hold up its partition.
  lock table public.stores in share row exclusive mode;
  begin
    insert into public.stores (code, name, scan_letter, shop_domain, time_zone, currency)
    values (
      p_code, app.clean_name(p_name), p_scan_letter, p_shop_domain, p_time_zone, p_currency
    );
  exception
    when unique_violation then
      get stacked diagnostics v_rule = constraint_name;
      perform app.fail(
        'CONFLICT', 'Another store has this code, scan letter or shop domain.',
        jsonb_build_object('rule', v_rule)
      );
    when data_exception or integrity_constraint_violation then
      get stacked diagnostics v_rule = constraint_name;
      perform app.fail(
        'BAD_INPUT',
        'A store needs a code (a-z, 0-9, _), a name, a scan letter (A-Z), a time zone, a currency '
        'such as AUD, and no shop domain or one in lower case.',
        jsonb_build_object('rule', v_rule)
      );
  end;
  if p_code = 'smoke' or to_regclass(format('public.orders_%s', p_code)) is not null then
    perform app.fail(
      'BAD_INPUT', format('The code %s is reserved. Choose another.', p_code),
      jsonb_build_object('code', p_code)
    );
  end if;
  perform public.set_setting(p_code, part.name, part.value)
  from ( -- in order of key, so that two callers cannot deadlock
    select parts.key as name, parts.value from jsonb_each(p_settings) as parts order by parts.key
  ) as part;
  perform app.audit(
    'create_store', p_code, p_code,
    jsonb_build_object('scan_letter', p_scan_letter, 'shop_domain', p_shop_domain)
  );
  perform app.add_store_partition(p_code); -- last, because all writers of orders wait from here on
  return p_code;
end;
$$;
comment on function public.create_store is
'Makes a store, with a partition for its orders. Returns its code.

p_settings sets some settings at once, as set_setting does. The other settings have their defaults. The caller must be an Admin of all stores. BUSY means that other calls held locks for too long, and nothing was changed.

Role: Admin. Errors: BAD_INPUT (an invalid or reserved value, a setting of the wrong shape), CONFLICT (another store has the code, letter or domain), BUSY.';
grant execute on function public.create_store to authenticated;

select app.assert_grants();
commit;
