begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
do $$ begin if to_regclass('app.tasks') is not null then
  delete from app.tasks as tasks where tasks.name = 'add_months';
  delete from app.hooks as hooks where hooks.function = 'month_alerts';
end if; end $$;
drop function if exists
app.month_alerts, app.starts_of, app.begin_after_month, app.add_next_months,
app.register_monthly_table, app.add_months, app.missing_months, app.months, app.add_partition;
drop table if exists app.monthly_tables;
commit;
