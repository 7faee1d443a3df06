begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.invariants') is not null then
  delete from app.invariants as invariants where invariants.name in ('work');
end if; end $$;
do $$ begin if to_regclass('app.tasks') is not null then
  delete from app.tasks as tasks
  where tasks.name in ('reap_work', 'purge_work', 'rewind_work');
  delete from app.hooks as hooks where hooks.function = 'work_alerts';
end if; end $$;
drop function if exists
public.get_work_queue_stats, public.get_dead_work, public.requeue_dead_work, public.reap_work,
app.audit_work, app.foreign_stores, app.purge_work, app.reap_work, app.work_alerts, app.rewind_work;
drop view if exists app.work_status;
commit;
