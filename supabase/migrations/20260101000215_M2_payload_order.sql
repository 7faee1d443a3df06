-- M2 payload order: read the lines, cakes, units and header of an order from a Shopify payload.
-- Needs: M0 M1

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

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
'Returns the suffix of a unit in a split order: A for 1, Z for 26, AA for 27. Returns null for 0.';

create or replace function app.shopify_title(p_item jsonb)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return left(app.clean_name(coalesce(p_item ->> 'title', p_item ->> 'name')), 300);
end;
$$;
comment on function app.shopify_title is 'Returns the title of a line item.';

create or replace function app.shopify_variant(p_item jsonb)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return nullif(left(app.clean_name(coalesce(
    p_item ->> 'variant_title', p_item ->> 'variantTitle', p_item #>> '{variant,title}'
  )), 300), 'Default Title');
end;
$$;
comment on function app.shopify_variant is
'Returns the variant of a line item. Returns null for a product without variants.';

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
'Returns the kind of product that a title names: cake, accessory or other. A cake topper is an accessory.';

create or replace function app.shopify_restocked(p_refunds jsonb)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_refunds jsonb := app.shopify_list('refunds', p_refunds);
  v_items jsonb;
  v_item jsonb;
  v_line text;
  v_restocked jsonb := '{}'::jsonb;
begin
  for v_refund in 0..jsonb_array_length(v_refunds) - 1 loop
    v_items := app.shopify_list('refund_line_items', coalesce(
      v_refunds -> v_refund -> 'refund_line_items', v_refunds -> v_refund -> 'refundLineItems'
    ));
    for v_at in 0..jsonb_array_length(v_items) - 1 loop
      v_item := v_items -> v_at;
      v_line := app.shopify_id(
        coalesce(v_item ->> 'line_item_id', v_item #>> '{lineItem,id}'), 'LineItem'
      );
      continue when v_line is null or upper(
        coalesce(v_item ->> 'restock_type', v_item ->> 'restockType', 'NO_RESTOCK')
      ) = 'NO_RESTOCK';
      v_restocked := v_restocked || jsonb_build_object(
        v_line, coalesce((v_restocked -> v_line)::numeric, 0)
        + coalesce(app.shopify_number('quantity', v_item ->> 'quantity', 10000), 0)
      );
    end loop;
  end loop;
  return v_restocked;
end;
$$;
comment on function app.shopify_restocked is
'Returns how many pieces of each line came back by the refunds of an order: {line id: pieces}. A refund says for each line whether the goods were restocked. Raises BAD_INPUT.';

create or replace function app.shopify_line(p_item jsonb, p_restocked jsonb)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint := app.shopify_id(p_item ->> 'id', 'LineItem');
  v_title text := app.shopify_title(p_item);
  v_quantity numeric := app.shopify_number(
    'quantity',
    coalesce(p_item ->> 'current_quantity', p_item ->> 'currentQuantity', p_item ->> 'quantity'),
    10000
  );
begin
  if v_quantity is null then
    perform app.fail('BAD_INPUT', 'A line item must have a quantity.', '{"field": "quantity"}');
  end if;
  return jsonb_build_object(
    'line_id', v_id, 'restocked', coalesce(p_restocked -> v_id::text, '0'),
    'ordered', greatest(
      v_quantity, app.shopify_number('quantity', p_item ->> 'quantity', 10000)
    ),
    'title', v_title, 'variant_title', app.shopify_variant(p_item),
    'sku', left(app.clean_text(coalesce(p_item ->> 'sku', p_item #>> '{variant,sku}')), 200),
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
'Returns a line item: its product, its price in the currency of the shop, and its quantities. quantity is what is left after edits and refunds. ordered is what the line began with. restocked is what came back (app.shopify_restocked).

Raises BAD_INPUT for an invalid value. A missing quantity is invalid too, because the number of cakes is never guessed.';

create or replace function app.shopify_lines(p_items jsonb, p_refunds jsonb)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_restocked jsonb := app.shopify_restocked(p_refunds);
  v_lines jsonb[] := '{}'::jsonb[];
begin
  for v_at in 0..jsonb_array_length(p_items) - 1 loop
    v_lines := v_lines || app.shopify_line(p_items -> v_at, v_restocked);
  end loop;
  return to_jsonb(v_lines);
end;
$$;
comment on function app.shopify_lines is
'Returns all line items of an order, each as app.shopify_line returns it. Raises BAD_INPUT.';

create or replace function app.shopify_cake(p_item jsonb)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_pairs jsonb[] := app.shopify_pairs(
    'properties', coalesce(p_item -> 'properties', p_item -> 'customAttributes')
  );
  v_variant text[] := string_to_array( -- the till writes " + " for " / "
    replace(app.shopify_variant(p_item), ' + ', ' / '), ' / '
  );
  v_piece text;
  v_flavours text[] := '{}'::text[];
begin
  foreach v_piece in array string_to_array(translate(
    array_to_string(app.shopify_values(v_pairs, '%gelato flavour%'), ','), E'\n/', ',,'
  ), ',') loop
    v_flavours := v_flavours || app.clean_name(v_piece);
  end loop;
  return jsonb_build_object(
    'product_title', app.shopify_title(p_item),
    'size', app.clean_name(v_variant[1]),
    'flavour', coalesce(
      nullif(left(array_to_string(v_flavours, ', '), 300), ''), app.clean_name(v_variant[2])
    ),
    'cake_writing',
    nullif(left(array_to_string(app.shopify_values(v_pairs, '%writing%'), ' / '), 5000), '')
  );
end;
$$;
comment on function app.shopify_cake is
'Returns the cake of a line item: product, size, flavour and writing.

Size and flavour are the first two parts of a variant like "Medium / Vanilla". Properties about gelato flavours replace that flavour. Raises BAD_INPUT.';

create or replace function app.shopify_units(p_items jsonb, p_lines jsonb, p_total numeric)
returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_line jsonb;
  v_cakes integer := 0;
  v_accessories jsonb[] := '{}'::jsonb[];
  v_cake jsonb;
  v_unit integer := 0;
  v_units jsonb[] := '{}'::jsonb[];
begin
  for v_at in 0..jsonb_array_length(p_lines) - 1 loop
    v_line := p_lines -> v_at;
    if v_line ->> 'kind' = 'cake' then
      v_cakes := v_cakes + (v_line -> 'quantity')::integer;
    elsif v_line ->> 'kind' = 'accessory' and v_line -> 'quantity' <> '0' then
      v_accessories := v_accessories || jsonb_build_object(
        'title', v_line -> 'title', 'quantity', v_line -> 'quantity',
        'price', v_line -> 'price', 'variant_title', v_line -> 'variant_title'
      );
    end if;
  end loop;
  if v_cakes > 200 then
    perform app.fail(
      'BAD_INPUT', 'An order may have at most 200 cakes.',
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
        'item', p_lines -> v_at
      ));
    end loop;
  end loop;
  return to_jsonb(v_units);
end;
$$;
comment on function app.shopify_units is
'Returns one unit per cake, in the order of the lines. An order without cakes has no units.

The first unit carries all accessories and the whole total, so that sums are right. Raises BAD_INPUT for more than 200 units.';

create or replace function app.shopify_customer(p_address jsonb, p_customer jsonb)
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return left(coalesce(
    app.clean_name(p_address ->> 'name'), app.clean_name(p_customer ->> 'name'),
    app.clean_name(concat_ws(
      ' ',
      app.clean_name(coalesce(p_customer ->> 'first_name', p_customer ->> 'firstName')),
      app.clean_name(coalesce(p_customer ->> 'last_name', p_customer ->> 'lastName'))
    )),
    'Customer'
  ), 200);
end;
$$;
comment on function app.shopify_customer is
'Returns the name on the delivery address, else the name of the customer, else "Customer".';

create or replace function app.shopify_contact(p_pairs jsonb[], p_payload jsonb)
returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_customer jsonb := p_payload -> 'customer';
begin
  return jsonb_build_object(
    'customer_id', app.shopify_id(v_customer ->> 'id', 'Customer'),
    'email', left(app.clean_name(coalesce(
      p_payload ->> 'email', p_payload ->> 'contact_email', v_customer ->> 'email'
    )), 2000),
    'phone', left(app.clean_name(coalesce(p_payload ->> 'phone', v_customer ->> 'phone')), 2000),
    'gift_sender',
    nullif(left(array_to_string(app.shopify_values(p_pairs, '%sender%'), ', '), 200), ''),
    'address', coalesce(p_payload -> 'shipping_address', p_payload -> 'shippingAddress')
  );
end;
$$;
comment on function app.shopify_contact is
'Returns what identifies the customer of an order beside the name, named like the columns of order_contacts. The attributes with "sender" in their names give the sender of a gift.';

create or replace function app.shopify_doubts(p_due date, p_due_text text, p_units jsonb)
returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  return to_jsonb(array_remove(array[
    case
      when p_due is not null then null
      when p_due_text is null then 'No due date'
      else 'Due date unclear'
    end,
    case when jsonb_path_exists(p_units, '$[*] ? (@.flavour == null)') then 'No flavour' end
  ], null));
end;
$$;
comment on function app.shopify_doubts is
'Returns the reasons for which a person must look at an order.';

create or replace function app.shopify_delivery(p_pairs jsonb[], p_payload jsonb)
returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_address jsonb := coalesce(p_payload -> 'shipping_address', p_payload -> 'shippingAddress');
  v_method text := lower(array_to_string(app.shopify_values(p_pairs, 'delivery method'), ' '));
  v_name text;
  v_place text;
begin
  if translate(v_method, ' -', '') not like '%pickup%'
    and (v_method like '%delivery%' or jsonb_typeof(v_address) = 'object')
  then
    return '{"delivery_method": "delivery", "pickup_location": null}'::jsonb;
  end if;
  foreach v_name in array '{pickup_location,pickup_location_name,pickup_location_company}'::text[] loop
    v_place := (app.shopify_values(p_pairs, v_name))[1]; -- _ stands for a space or hyphen too
    exit when v_place is not null;
  end loop;
  return jsonb_build_object(
    'delivery_method', 'pickup', 'pickup_location', left(app.clean_name(coalesce(
      v_place, p_payload #>> '{shipping_lines,0,title}', p_payload #>> '{shippingLine,title}'
    )), 300)
  );
end;
$$;
comment on function app.shopify_delivery is
'Returns how an order reaches its customer: {delivery_method, pickup_location}.

The pickup location is in an attribute, or in the title of the shipping line. Null for a delivery, and where the order names no location.';

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
  v_lines jsonb := app.shopify_lines(v_items, p_payload -> 'refunds');
  v_attributes jsonb[] := app.shopify_pairs('note_attributes', p_payload -> 'note_attributes')
    || app.shopify_pairs('attributes', p_payload -> 'attributes')
    || app.shopify_pairs('customAttributes', p_payload -> 'customAttributes');
  v_address jsonb := coalesce(p_payload -> 'shipping_address', p_payload -> 'shippingAddress');
  v_currency text := upper(coalesce(
    app.clean_text(coalesce(
      p_payload ->> 'currency', p_payload ->> 'currencyCode',
      p_payload #>> '{currentTotalPriceSet,shopMoney,currencyCode}',
      p_payload #>> '{totalPriceSet,shopMoney,currencyCode}'
    )),
    'AUD'
  ));
  v_total numeric := app.shopify_number(
    'total_price',
    coalesce(
      p_payload ->> 'current_total_price', p_payload #>> '{currentTotalPriceSet,shopMoney,amount}',
      p_payload ->> 'total_price', p_payload #>> '{totalPriceSet,shopMoney,amount}'
    ),
    9999999999.99, 2
  );
  v_is_pos boolean := lower(
    coalesce(p_payload ->> 'source_name', p_payload ->> 'sourceName', '')
  ) = 'pos';
  v_units jsonb;
  v_due record;
begin
  if v_id is null then
    perform app.fail('BAD_INPUT', 'The payload must have the id of an order.', '{"field": "id"}');
  end if;
  if v_currency !~ '^[A-Z]{3}$' then
    perform app.fail('BAD_INPUT', 'currency must have three letters.', '{"field": "currency"}');
  end if;
  v_units := app.shopify_units(v_items, v_lines, v_total);
  v_due := app.shopify_due(v_attributes, p_payload -> 'tags');

  return jsonb_build_object(
    'gid', 'gid://shopify/Order/' || v_id, 'shopify_order_id', v_id, 'order_number', v_number,
    'customer_name', app.shopify_customer(v_address, p_payload -> 'customer'),
    'contact', app.shopify_contact(v_attributes, p_payload),
    'currency', v_currency, 'total_amount', v_total,
    'due_date', v_due.due_date, 'due_date_text', left(v_due.due_date_text, 5000),
    'notes', nullif(left(array_to_string(
      app.clean_text(p_payload ->> 'note')
      || app.shopify_values(v_attributes, 'delivery instructions'),
      ' • '
    ), 5000), ''),
    'is_pos', v_is_pos,
    'cancelled',
    app.clean_text(coalesce(p_payload ->> 'cancelled_at', p_payload ->> 'cancelledAt'))
    is not null,
    'updated_at',
    app.shopify_moment(coalesce(p_payload ->> 'updated_at', p_payload ->> 'updatedAt')),
    'needs_attention', case
      when v_is_pos then '[]' else app.shopify_doubts(v_due.due_date, v_due.due_date_text, v_units)
    end,
    'units', v_units, 'lines', v_lines
  ) || app.shopify_delivery(v_attributes, p_payload);
end;
$$;
comment on function app.shopify_order is
'Returns a Shopify order in our form: the header, one unit per cake, and every line.

The same payload always gives the same result. Every value fits its column in public.orders. Money is in the currency of the shop, never in the currency of the customer. needs_attention lists the reasons for which a person must look at the order. Raises BAD_INPUT for a payload without an order id or with an invalid value.';

select app.assert_grants();
commit;
