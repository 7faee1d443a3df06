begin;
set local lock_timeout = '5s';
drop function if exists app.foreign_rows;
set local role bakehouse_owner;
do $$ begin if to_regclass('app.hooks') is not null then
  delete from app.hooks as hooks where hooks.function = 'foreign_alerts';
end if; end $$;
drop function if exists app.foreign_alerts;
commit;
