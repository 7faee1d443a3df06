begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.tasks') is not null then
  delete from app.tasks as tasks where tasks.name in ('reconcile');
end if; end $$;
drop trigger if exists inventory_items_enqueue_stock_push on public.inventory_items;
drop function if exists public.apply_reconcile, public.get_push_items, app.enqueue_reconcile;
drop function if exists app.enqueue_stock_push;
commit;
