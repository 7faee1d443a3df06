-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
app.shopify_order(jsonb), app.shopify_units(jsonb, jsonb, numeric), app.shopify_cake(jsonb),
app.shopify_lines(jsonb), app.shopify_line(jsonb), app.shopify_kind(text),
app.shopify_variant(jsonb), app.shopify_title(jsonb), app.shopify_suffix(integer),
app.shopify_moment(text), app.shopify_due(jsonb[], jsonb), app.shopify_due_date(text),
app.shopify_values(jsonb[], text), app.shopify_pairs(text, jsonb), app.shopify_list(text, jsonb),
app.shopify_id(text, text), app.shopify_number(text, text, numeric, integer),
app.shopify_text(text);

commit;
