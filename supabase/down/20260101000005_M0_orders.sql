-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop table if exists public.orders;
drop function if exists
app.keep_identity(), app.set_queue_key(), app.set_priority(), app.moment_key(timestamptz),
app.day_key(date), app.priority_label(smallint), app.priority_rank(date, date),
app.size_rank(text);
drop type if exists public.stage_type;

commit;
