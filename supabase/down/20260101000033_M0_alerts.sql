begin;
set local lock_timeout = '5s';
drop function if exists app.sessions;
set local role bakehouse_owner;
do $$ begin if to_regclass('app.hooks') is not null then
  delete from app.hooks as hooks where hooks.function = 'lock_alerts';
end if; end $$;
drop function if exists
public.get_alerts, app.alerts, app.lock_alerts, app.register_advisory_lock;
drop table if exists app.advisory_locks;
drop type if exists app.alert;
commit;
