-- M2 normalise: from a Shopify payload to our order, as pure functions of one rule each.
--
-- Needs: M0
--
-- REST (line_items, name/value) and GraphQL (lineItems, key/value) give the same order. What is
-- absent is null; a number that is no number and a list that is no list are BAD_INPUT, which names
-- the field and never what it held.
-- Every order passes here, so the bodies are loops: on a few elements a query costs five times as
-- much. They keep to few regular expressions, because a session remembers only 32 of them.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

-- Functions, internal: the parts of a payload
create or replace function app.shopify_text(p_text text)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return nullif(btrim(
    regexp_replace(p_text, '[\u0001-\u0008\u000b-\u001f\u007f\u00a0]', ' ', 'g'), E' \t\n'
  ), '');
end;
$$;
comment on function app.shopify_text is
'Text without control characters (tabs and line breaks may stay) and outer blanks; null when nothing is left.';

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
    'BAD_INPUT', format('%s is not a number from 0 to %s.', p_field, p_most),
    jsonb_build_object('field', p_field)
  );
  return null;
end;
$$;
comment on function app.shopify_number is
'A number from 0 on as Shopify writes it, in JSON or in text; null when absent.

Rounded to the places asked for, but a whole number has to be whole. Raises BAD_INPUT for anything else.';

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
'The number in an id, plain or as gid://shopify/<kind>/<number>; null for anything else, as the id of another kind.';

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
      'BAD_INPUT', format('%s is not a whole list of at most 1000.', p_field),
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
'A list, plain (REST) or in edges or nodes (GraphQL); empty when absent.

Raises BAD_INPUT for anything else, and for a page that is not the last one: half an order is none.';

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
    v_name := lower(app.shopify_text(
      coalesce(v_pair ->> 'name', v_pair ->> 'key', v_pair ->> 'first', v_pair ->> 0)
    ));
    v_value := app.shopify_text(coalesce(v_pair ->> 'value', v_pair ->> 'last', v_pair ->> 1));
    if v_value is not null and v_name !~ '^_|_origin|_raw|gwp|_localdeliveryid' then
      v_pairs := v_pairs || jsonb_build_array(v_name, v_value);
    end if;
  end loop;
  return v_pairs;
end;
$$;
comment on function app.shopify_pairs is
'Properties or attributes in their order, as [name in lower case, value]; blank ones and those that plugins keep for themselves left out.

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
'The values of those app.shopify_pairs whose name is like p_name, in order.';

-- Functions, internal: dates
create or replace function app.shopify_due_date(p_text text)
returns date
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := btrim(
    replace(replace(split_part(lower(p_text), 'between', 1), ',', ''), '  ', ' '), E' \t\n;-'
  );
  v_weekday text;
  v_part text[]; -- day, month, year
  v_date date;
begin
  if v_text like any ('{del:%,pickup:%}') then
    v_text := ltrim(split_part(v_text, ':', 2));
  end if;
  if v_text ~ '^20\d\d-\d\d-\d\d$' then
    v_part := string_to_array(v_text, '-');
    v_part := array[v_part[3], v_part[2], v_part[1]];
  elsif v_text ~ '^\d\d?/\d\d?/20\d\d$' then
    v_part := string_to_array(v_text, '/');
  elsif v_text ~ '^([a-z]+ )?\d\d?(st|nd|rd|th)? [a-z]+ 20\d\d$' then
    v_part := string_to_array(v_text, ' ');
    if cardinality(v_part) = 4 then
      v_weekday := v_part[1];
      v_part := v_part[2:4];
    end if;
    v_part[1] := rtrim(v_part[1], 'stndrh');
    v_part[2] := array_position(
      '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}'::text[], left(v_part[2], 3)
    );
  end if;
  if v_part[2]::integer between 1 and 12 then
    v_date := make_date(v_part[3]::integer, v_part[2]::integer, 1) + (v_part[1]::integer - 1);
  end if;
  return case
    when extract(month from v_date) = v_part[2]::integer -- else a day 0 or a 31 February
    and (
      v_weekday is null
      or extract(isodow from v_date)
      = array_position('{mon,tue,wed,thu,fri,sat,sun}'::text[], left(v_weekday, 3))
    )
    then v_date
  end;
end;
$$;
comment on function app.shopify_due_date is
'The date that a text says, up to "between": 2025-09-16, 08/12/2025 (day first), Sat 8 Nov 2025; DEL: or PICKUP: may stand before it.

Never a guess: null for anything else, for a day that does not exist and for a weekday that it is not.';

create or replace function app.shopify_due(
  p_attributes jsonb[], p_tags jsonb, out due_date date, out due_date_text text
)
returns record
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_tags jsonb := app.shopify_list('tags', case jsonb_typeof(p_tags)
    when 'string' then to_jsonb(string_to_array(p_tags #>> '{}', ',')) else p_tags
  end);
  v_marked text[] := '{}'::text[];
  v_plain text[] := '{}'::text[];
  v_said text[];
  v_words text;
  v_date date;
  v_first date;
  v_last date;
begin
  for v_at in 0..jsonb_array_length(v_tags) - 1 loop
    v_words := app.shopify_text(v_tags ->> v_at);
    if lower(v_words) like any ('{del:%,pickup:%}') then
      v_marked := v_marked || v_words;
    elsif app.shopify_due_date(v_words) is not null then
      v_plain := v_plain || v_words;
    end if;
  end loop;

  for v_source in 1..4 loop
    v_said := case v_source
      when 1 then app.shopify_values(p_attributes, 'local delivery date and time')
      when 2 then app.shopify_values(p_attributes, '%delivery%date%')
        || app.shopify_values(p_attributes, '%pick%up%date%')
      when 3 then v_marked
      else v_plain
    end;
    v_first := null;
    v_last := null;
    foreach v_words in array v_said loop
      v_date := app.shopify_due_date(v_words);
      v_first := least(v_first, v_date);
      v_last := greatest(v_last, v_date);
    end loop;
    if v_first = v_last then
      due_date := v_first;
      due_date_text := array_to_string(v_said, '; ');
      return;
    end if;
    due_date_text := coalesce(due_date_text, nullif(array_to_string(v_said, '; '), ''));
  end loop;
end;
$$;
comment on function app.shopify_due is
'When an order is due by its attributes, else by its tags, and the words that said so.

The first source that says one date decides. Words without a date are for a person to read. Raises BAD_INPUT.';

create or replace function app.shopify_moment(p_text text)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if p_text ~ (
    '^\d{4}-\d\d-\d\dT([01]\d|2[0-3])(:[0-5]\d){2}(\.\d{1,6})?'
    '(Z|[+-](0\d|1[0-4]):[0-5]\d)$'
  )
  and app.shopify_due_date(left(p_text, 10)) is not null then
    return to_char(p_text::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
  end if;
  return null;
end;
$$;
comment on function app.shopify_moment is
'A timestamp in UTC and one notation, so that the texts of two moments sort as the moments do; null for anything else.';

-- Functions, internal: cakes
create or replace function app.shopify_suffix(p_unit integer)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_rest integer := p_unit;
  v_suffix text := '';
begin
  while v_rest > 0 loop
    v_suffix := chr(65 + (v_rest - 1) % 26) || v_suffix;
    v_rest := (v_rest - 1) / 26;
  end loop;
  return nullif(v_suffix, '');
end;
$$;
comment on function app.shopify_suffix is
'What tells the units of a split order apart: 1 is A, 26 is Z, 27 is AA.';

create or replace function app.shopify_title(p_item jsonb)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return app.shopify_text(coalesce(p_item ->> 'title', p_item ->> 'name'));
end;
$$;
comment on function app.shopify_title is 'What a line item is called.';

create or replace function app.shopify_variant(p_item jsonb)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return nullif(app.shopify_text(coalesce(
    p_item ->> 'variant_title', p_item ->> 'variantTitle', p_item #>> '{variant,title}'
  )), 'Default Title');
end;
$$;
comment on function app.shopify_variant is
'The variant of a line item; null for a product that has only one.';

create or replace function app.shopify_kind(p_title text)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_title text := lower(p_title);
begin
  return case
    when v_title ~ 'candle|balloon|topper|decoration|picks?\M' then 'accessory'
    when v_title like '%cake%' then 'cake'
    else 'other'
  end;
end;
$$;
comment on function app.shopify_kind is
'What a title sells: a cake, an accessory (a cake topper is one), or something other.';

create or replace function app.shopify_line(p_item jsonb)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_title text := app.shopify_title(p_item);
  v_quantity numeric := app.shopify_number(
    'quantity',
    coalesce(p_item ->> 'current_quantity', p_item ->> 'currentQuantity', p_item ->> 'quantity'),
    10000
  );
begin
  if v_quantity is null then
    perform app.fail(
      'BAD_INPUT', 'A line item has no quantity.', jsonb_build_object('field', 'quantity')
    );
  end if;
  return jsonb_build_object(
    'line_id', app.shopify_id(p_item ->> 'id', 'LineItem'),
    'title', v_title,
    'variant_title', app.shopify_variant(p_item),
    'sku', app.shopify_text(coalesce(p_item ->> 'sku', p_item #>> '{variant,sku}')),
    'variant_id', app.shopify_id(
      coalesce(p_item ->> 'variant_id', p_item #>> '{variant,id}'), 'ProductVariant'
    ),
    'product_id', app.shopify_id(
      coalesce(p_item ->> 'product_id', p_item #>> '{product,id}'), 'Product'
    ),
    'quantity', v_quantity,
    'price', app.shopify_number(
      'price',
      coalesce(
        p_item ->> 'price', p_item #>> '{price_set,shop_money,amount}',
        p_item #>> '{originalUnitPriceSet,shopMoney,amount}'
      ),
      9999999999.99, 2
    ),
    'kind', case
      when coalesce(p_item ->> 'gift_card', p_item ->> 'isGiftCard') = 'true' then 'other'
      else app.shopify_kind(v_title)
    end
  );
end;
$$;
comment on function app.shopify_line is
'A line item: what was bought, how many are left after edits, for how much in the currency of the shop.

Raises BAD_INPUT, without a quantity too: nobody guesses how many cakes to bake.';

create or replace function app.shopify_lines(p_payload jsonb)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_items jsonb := app.shopify_list(
    'line_items', coalesce(p_payload -> 'line_items', p_payload -> 'lineItems')
  );
  v_lines jsonb[] := '{}'::jsonb[];
begin
  for v_at in 0..jsonb_array_length(v_items) - 1 loop
    v_lines := v_lines || app.shopify_line(v_items -> v_at);
  end loop;
  return to_jsonb(v_lines);
end;
$$;
comment on function app.shopify_lines is
'Every line item of a payload as app.shopify_line has it, in order. Raises BAD_INPUT.';

create or replace function app.shopify_cake(p_item jsonb)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_pairs jsonb[] := app.shopify_pairs(
    'properties', coalesce(p_item -> 'properties', p_item -> 'customAttributes')
  );
  v_variant text[] := string_to_array( -- over the counter it is a plus
    replace(app.shopify_variant(p_item), ' + ', ' / '), ' / '
  );
  v_piece text;
  v_flavours text[] := '{}'::text[];
begin
  foreach v_piece in array string_to_array(translate(
    array_to_string(app.shopify_values(v_pairs, '%gelato flavour%'), ','), E'\n/', ',,'
  ), ',') loop
    v_flavours := v_flavours || app.shopify_text(v_piece);
  end loop;
  return jsonb_build_object(
    'product_title', app.shopify_title(p_item),
    'size', app.shopify_text(v_variant[1]),
    'flavour', coalesce(
      nullif(array_to_string(v_flavours, ', '), ''), app.shopify_text(v_variant[2])
    ),
    'cake_writing',
    nullif(array_to_string(app.shopify_values(v_pairs, '%writing%'), ' / '), '')
  );
end;
$$;
comment on function app.shopify_cake is
'What to bake for a line item.

Size and flavour are the first two parts of a variant like "Medium / Vanilla", but properties about gelato flavours go first. Raises BAD_INPUT.';

-- Functions, internal: the order
create or replace function app.shopify_units(p_items jsonb, p_lines jsonb, p_total numeric)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_line jsonb;
  v_cakes integer := 0;
  v_bytes bigint := 0;
  v_accessories jsonb[] := '{}'::jsonb[];
  v_cake jsonb;
  v_unit integer := 0;
  v_units jsonb[] := '{}'::jsonb[];
begin
  for v_at in 0..jsonb_array_length(p_lines) - 1 loop
    v_line := p_lines -> v_at;
    if v_line ->> 'kind' = 'cake' then
      v_cakes := v_cakes + (v_line -> 'quantity')::integer;
      v_bytes := v_bytes
        + (v_line -> 'quantity')::bigint * pg_column_size(p_items -> v_at);
    elsif v_line ->> 'kind' = 'accessory' and v_line -> 'quantity' <> '0' then
      v_accessories := v_accessories || jsonb_build_object(
        'title', v_line -> 'title', 'quantity', v_line -> 'quantity',
        'price', v_line -> 'price', 'variant_title', v_line -> 'variant_title'
      );
    end if;
  end loop;
  if v_cakes > 200 or v_bytes > 64 * 1024 * 1024 then
    perform app.fail(
      'BAD_INPUT', 'More cakes than one order can have.',
      jsonb_build_object('field', 'quantity', 'most', 200)
    );
  end if;

  for v_at in 0..jsonb_array_length(p_lines) - 1 loop
    continue when p_lines -> v_at ->> 'kind' <> 'cake';
    v_cake := app.shopify_cake(p_items -> v_at);
    for v_copy in 1..(p_lines -> v_at -> 'quantity')::integer loop
      v_unit := v_unit + 1;
      v_units := v_units || (v_cake || jsonb_build_object(
        'suffix', case when v_cakes > 1 then app.shopify_suffix(v_unit) end,
        'accessories', case when v_unit = 1 then to_jsonb(v_accessories) else '[]' end,
        'total_amount', case when v_unit = 1 then p_total else 0 end,
        'item', p_items -> v_at
      ));
    end loop;
  end loop;
  return to_jsonb(v_units);
end;
$$;
comment on function app.shopify_units is
'A unit per cake, in the order of the lines; none for an order without cakes.

Accessories and the whole total are on the first, so that sums stay right. Raises BAD_INPUT beyond 200 units, or 64 MB of them.';

create or replace function app.shopify_order(p_payload jsonb)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint := coalesce(
    app.shopify_id(p_payload ->> 'admin_graphql_api_id', 'Order'),
    app.shopify_id(p_payload ->> 'id', 'Order'),
    app.shopify_id(p_payload ->> 'legacyResourceId', 'Order')
  );
  v_number integer := nullif(app.shopify_number(
    'order_number',
    coalesce(
      p_payload ->> 'order_number', p_payload ->> 'orderNumber',
      substring(p_payload ->> 'name' from '^\D{0,20}(\d{1,9})$') -- #B24517
    ),
    2147483647
  ), 0);
  v_items jsonb := app.shopify_list(
    'line_items', coalesce(p_payload -> 'line_items', p_payload -> 'lineItems')
  );
  v_lines jsonb := app.shopify_lines(p_payload);
  v_attributes jsonb[] := app.shopify_pairs('note_attributes', p_payload -> 'note_attributes')
    || app.shopify_pairs('attributes', p_payload -> 'attributes')
    || app.shopify_pairs('customAttributes', p_payload -> 'customAttributes');
  v_address jsonb := coalesce(p_payload -> 'shipping_address', p_payload -> 'shippingAddress');
  v_customer jsonb := p_payload -> 'customer';
  v_currency text := upper(coalesce(
    app.shopify_text(coalesce(
      p_payload ->> 'currency', p_payload ->> 'currencyCode',
      p_payload #>> '{currentTotalPriceSet,shopMoney,currencyCode}',
      p_payload #>> '{totalPriceSet,shopMoney,currencyCode}'
    )),
    'AUD'
  ));
  v_total numeric := app.shopify_number(
    'total_price',
    coalesce(
      p_payload ->> 'current_total_price',
      p_payload #>> '{currentTotalPriceSet,shopMoney,amount}',
      p_payload ->> 'total_price',
      p_payload #>> '{totalPriceSet,shopMoney,amount}'
    ),
    9999999999.99, 2
  );
  v_method text := lower(
    array_to_string(app.shopify_values(v_attributes, 'delivery method'), ' ')
  );
  v_is_pos boolean := lower(
    coalesce(p_payload ->> 'source_name', p_payload ->> 'sourceName', '')
  ) = 'pos';
  v_units jsonb;
  v_due record;
begin
  if v_id is null then
    perform app.fail(
      'BAD_INPUT', 'The payload has no order id.', jsonb_build_object('field', 'id')
    );
  end if;
  if v_currency !~ '^[A-Z]{3}$' then
    perform app.fail(
      'BAD_INPUT', 'currency is not a currency.', jsonb_build_object('field', 'currency')
    );
  end if;
  v_units := app.shopify_units(v_items, v_lines, v_total);
  v_due := app.shopify_due(v_attributes, p_payload -> 'tags');

  return jsonb_build_object(
    'gid', 'gid://shopify/Order/' || v_id,
    'shopify_order_id', v_id,
    'order_number', v_number,
    'customer_name', coalesce(
      app.shopify_text(v_address ->> 'name'),
      app.shopify_text(v_customer ->> 'name'),
      app.shopify_text(concat_ws(
        ' ',
        app.shopify_text(coalesce(v_customer ->> 'first_name', v_customer ->> 'firstName')),
        app.shopify_text(coalesce(v_customer ->> 'last_name', v_customer ->> 'lastName'))
      )),
      'Customer'
    ),
    'currency', v_currency,
    'total_amount', v_total,
    'due_date', v_due.due_date,
    'due_date_text', v_due.due_date_text,
    'delivery_method', case
      when translate(v_method, ' -', '') like '%pickup%' then 'pickup'
      when v_method like '%delivery%' or jsonb_typeof(v_address) = 'object' then 'delivery'
      else 'pickup'
    end,
    'notes', nullif(array_to_string(
      app.shopify_text(p_payload ->> 'note')
      || app.shopify_values(v_attributes, 'delivery instructions'),
      ' • '
    ), ''),
    'is_pos', v_is_pos,
    'cancelled',
    app.shopify_text(coalesce(p_payload ->> 'cancelled_at', p_payload ->> 'cancelledAt'))
    is not null,
    'updated_at',
    app.shopify_moment(coalesce(p_payload ->> 'updated_at', p_payload ->> 'updatedAt')),
    'needs_attention', to_jsonb(array_remove(
      array[
        case
          when v_is_pos or v_due.due_date is not null then null
          when v_due.due_date_text is null then 'No due date'
          else 'Due date unclear'
        end,
        case
          when not v_is_pos and jsonb_path_exists(v_units, '$[*] ? (@.flavour == null)')
          then 'No flavour'
        end
      ],
      null
    )),
    'units', v_units,
    'lines', v_lines
  );
end;
$$;
comment on function app.shopify_order is
'An order as Shopify sends it, in our words: the header, a unit per cake, every line.

Pure: the same payload gives the same answer, and everything in it fits public.orders. Money is in the currency of the shop, never in the customer''s. needs_attention lists what a person has to look at. Raises BAD_INPUT without an order id, and where the payload is not what Shopify sends.';

select app.assert_grants();

commit;
