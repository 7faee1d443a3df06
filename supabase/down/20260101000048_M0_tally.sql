begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.invariants') is not null then
  delete from app.invariants as invariants where invariants.name in ('order_tally');
end if; end $$;
do $$ begin if to_regclass('app.tasks') is not null then
  delete from app.tasks as tasks where tasks.name in ('fold_tally');
end if; end $$;
drop trigger if exists orders_tally on public.orders;
drop trigger if exists orders_tally_change on public.orders;
drop function if exists app.audit_order_tally, app.count_orders, app.fold_tally;
drop table if exists app.order_tally;
drop function if exists app.tally_order;
commit;
