-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
begin
  if to_regclass('public.orders') is not null then
    drop trigger if exists orders_words on public.orders;
    drop trigger if exists orders_words_change on public.orders;
  end if;
end;
$$;
drop function if exists app.find_ids, app.search_pattern, app.keep_words;
drop table if exists app.order_words;

commit;
