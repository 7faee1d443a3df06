-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop function if exists
app.shopify_order, app.shopify_units, app.shopify_cake, app.shopify_lines, app.shopify_line,
app.shopify_kind, app.shopify_variant, app.shopify_title, app.shopify_suffix, app.shopify_moment,
app.shopify_due, app.shopify_due_date, app.shopify_values, app.shopify_pairs, app.shopify_list,
app.shopify_id, app.shopify_number, app.shopify_text;

commit;
