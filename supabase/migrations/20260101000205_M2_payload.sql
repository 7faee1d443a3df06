-- M2 payload: read texts, numbers, ids, lists and pairs from a Shopify payload.
-- Needs: M0 M1
--
-- REST (line_items, name/value) and GraphQL (lineItems, key/value) give the same order. A missing
-- value is null, and a missing list is empty. A wrong number or list raises BAD_INPUT. The message
-- names the field but never shows its content.
--
-- Every order runs through these functions. Their bodies are loops, because a query on a few
-- elements costs five times as much. They use few regular expressions, because a session caches
-- only 32.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

create or replace function app.read_json(p_body text)
returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  return p_body::jsonb;
exception
  -- Cut off, nested too deeply, with \u0000 or a huge number: Postgres would quote the whole body.
  when data_exception or program_limit_exceeded then
    perform app.fail('BAD_INPUT', 'The body is not JSON that Postgres can store.');
    return null;
end;
$$;
comment on function app.read_json is
'Returns the body of a webhook as JSON. Raises BAD_INPUT for invalid JSON, without quoting the body.';

create or replace function app.shopify_number(
  p_field text, p_text text, p_most numeric, p_places integer default 0
)
returns numeric
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := nullif(btrim(p_text), '');
  v_number numeric := case when v_text ~ '^\d{1,20}(\.\d{1,20})?$' then v_text::numeric end;
begin
  if v_text is null then
    return null;
  end if;
  if v_number <= p_most and (p_places > 0 or v_number = trunc(v_number)) then
    return round(v_number, p_places);
  end if;
  perform app.fail(
    'BAD_INPUT', format('%s must be a number from 0 to %s.', p_field, p_most),
    jsonb_build_object('field', p_field)
  );
  return null;
end;
$$;
comment on function app.shopify_number is
'Returns a number from 0 to p_most, given as a JSON number or as text. Returns null for a missing number.

Rounds to p_places. With 0 places, the number must be whole. Raises BAD_INPUT for anything else.';

create or replace function app.shopify_id(p_text text, p_kind text)
returns bigint
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_prefix text := 'gid://shopify/' || p_kind || '/';
  v_digits text := case
    when starts_with(p_text, v_prefix) then substr(p_text, length(v_prefix) + 1) else p_text
  end;
begin
  return case
    when v_digits ~ '^[1-9]\d{0,18}$' and v_digits::numeric <= 9223372036854775807
    then v_digits::bigint
  end;
end;
$$;
comment on function app.shopify_id is
'Returns the number in an id, given plain or as gid://shopify/<kind>/<number>. Returns null for anything else, such as an id of another kind.';

create or replace function app.shopify_list(p_field text, p_value jsonb)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_list jsonb := coalesce(p_value -> 'edges', p_value -> 'nodes', p_value);
  v_nodes jsonb[] := '{}'::jsonb[];
begin
  if p_value is null or p_value = 'null' then
    return '[]'::jsonb;
  end if;
  if jsonb_typeof(v_list) <> 'array' or jsonb_array_length(v_list) > 1000
  or p_value #>> '{pageInfo,hasNextPage}' = 'true' then
    perform app.fail(
      'BAD_INPUT', format('%s must be a complete list of at most 1000 elements.', p_field),
      jsonb_build_object('field', p_field)
    );
  end if;
  if p_value -> 'edges' is not null then
    for v_at in 0..jsonb_array_length(v_list) - 1 loop
      v_nodes := v_nodes || (v_list -> v_at -> 'node');
    end loop;
    return to_jsonb(v_nodes);
  end if;
  return v_list;
end;
$$;
comment on function app.shopify_list is
'Returns a list that is plain (REST), or in edges or nodes (GraphQL). Returns an empty list for a missing list.

Raises BAD_INPUT for anything else and for more than 1000 elements. Also rejects a page that is not the last, because an order must be complete.';

create or replace function app.shopify_pairs(p_field text, p_value jsonb)
returns jsonb[]
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_list jsonb := p_value;
  v_pair jsonb;
  v_name text;
  v_value text;
  v_pairs jsonb[] := '{}'::jsonb[];
begin
  if jsonb_typeof(p_value) = 'object' then
    v_list := (
      select jsonb_agg(jsonb_build_array(entry.key, entry.value))
      from jsonb_each(p_value) as entry
    );
  end if;
  v_list := app.shopify_list(p_field, v_list);
  for v_at in 0..jsonb_array_length(v_list) - 1 loop
    v_pair := v_list -> v_at;
    v_name := lower(app.clean_text(
      coalesce(v_pair ->> 'name', v_pair ->> 'key', v_pair ->> 'first', v_pair ->> 0)
    ));
    v_value := app.clean_text(coalesce(v_pair ->> 'value', v_pair ->> 'last', v_pair ->> 1));
    if v_value is not null and v_name !~ '^_|_origin|_raw|gwp|_localdeliveryid' then
      v_pairs := v_pairs || jsonb_build_array(v_name, v_value);
    end if;
  end loop;
  return v_pairs;
end;
$$;
comment on function app.shopify_pairs is
'Returns properties or attributes as pairs [name, value], in their order. Names are in lower case. Skips blank values and the private properties of plugins.

Reads name/value (REST), key/value (GraphQL), first/last and pairs (Liquid), and an object. Raises BAD_INPUT for anything else.';

create or replace function app.shopify_values(p_pairs jsonb[], p_name text)
returns text[]
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_pair jsonb;
  v_values text[] := '{}'::text[];
begin
  foreach v_pair in array p_pairs loop
    if v_pair ->> 0 like p_name then
      v_values := v_values || (v_pair ->> 1);
    end if;
  end loop;
  return v_values;
end;
$$;
comment on function app.shopify_values is
'Returns the values of the pairs (app.shopify_pairs) with a name like p_name, in order.';

select app.assert_grants();
commit;
