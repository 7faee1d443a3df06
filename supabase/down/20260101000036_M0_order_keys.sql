begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
app.moment_key, app.day_key, app.priority_of, app.priority_label, app.priority_rank, app.size_rank;
drop function if exists app.set_queue_key, app.queue_key, app.set_priority;
commit;
