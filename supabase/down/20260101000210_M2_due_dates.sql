begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists app.shopify_moment, app.shopify_due, app.shopify_due_date;
commit;
