begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
app.shopify_values, app.shopify_pairs, app.shopify_list, app.shopify_id, app.shopify_number,
app.read_json;
commit;
