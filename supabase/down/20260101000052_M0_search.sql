begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.invariants') is not null then
  delete from app.invariants as invariants where invariants.name in ('order_words');
end if; end $$;
drop trigger if exists orders_words on public.orders;
drop trigger if exists orders_words_change on public.orders;
drop trigger if exists order_contacts_words on public.order_contacts;
drop trigger if exists order_contacts_words_change on public.order_contacts;
drop function if exists
app.audit_order_words, app.search_order_ids, app.search_pattern;
drop table if exists app.order_words;
drop function if exists app.rename_order_words, app.sync_order_words, app.search_words;
commit;
