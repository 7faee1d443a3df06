begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop trigger if exists orders_words on public.orders;
drop trigger if exists orders_words_change on public.orders;
drop function if exists app.search_order_ids, app.search_pattern;
drop table if exists app.order_words;
drop function if exists app.sync_order_words;
commit;
