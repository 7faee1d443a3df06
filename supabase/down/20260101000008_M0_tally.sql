-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

do $$
begin
  if to_regclass('public.orders') is not null then
    drop trigger if exists orders_tally on public.orders;
    drop trigger if exists orders_tally_change on public.orders;
  end if;
end;
$$;
drop function if exists app.fold_tally, app.tally_order;
drop table if exists app.order_tally;

commit;
