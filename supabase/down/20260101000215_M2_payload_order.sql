begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
app.shopify_order, app.shopify_delivery, app.shopify_doubts, app.shopify_contact,
app.shopify_customer, app.shopify_units, app.shopify_cake, app.shopify_lines, app.shopify_line,
app.shopify_restocked, app.shopify_kind, app.shopify_variant, app.shopify_title, app.shopify_suffix;
commit;
