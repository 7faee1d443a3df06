begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.invariants') is not null then
  delete from app.invariants as invariants where invariants.name in ('order_events', 'order_keys');
end if; end $$;
do $$ begin if to_regclass('app.tasks') is not null then
  delete from app.tasks as tasks where tasks.name in ('refresh_priorities');
  delete from app.hooks as hooks where hooks.function = 'partition_alerts';
end if; end $$;
do $$ begin if to_regclass('app.monthly_tables') is not null then
  delete from app.monthly_tables as tables where tables.name = 'stage_events';
end if; end $$;
drop function if exists
app.refresh_priorities, app.audit_order_events, app.audit_order_keys, app.partition_alerts,
app.add_store_partition;
drop table if exists public.stage_events, public.orders;
drop function if exists app.forbid_identity_change;
drop type if exists public.event_type;
drop type if exists public.stage_type;
commit;
