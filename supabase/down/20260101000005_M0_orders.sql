-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop table if exists public.orders;
drop function if exists
app.keep_identity, app.set_queue_key, app.set_priority, app.moment_key, app.day_key,
app.priority_label, app.priority_rank, app.size_rank;
drop type if exists public.stage_type;

commit;
