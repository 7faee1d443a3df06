-- Takes away what the migration of this name creates.

begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;

drop view if exists app.work_status;
drop function if exists
public.get_work_queue_stats(text), public.get_dead_work(text, bigint, integer),
public.requeue_dead_work(bigint[]), public.reap_work(integer),
public.complete_and_claim_work(uuid, bigint[], text[], text, integer, interval),
public.extend_work_lease(uuid, bigint[], interval),
public.fail_work(uuid, bigint[], text, interval), public.complete_work(uuid, bigint[]),
public.claim_work(text[], text, integer, interval),
public.enqueue_work_many(text, jsonb[], text[], smallint, interval, smallint),
public.enqueue_work(text, jsonb, text, smallint, interval, smallint),
app.purge_work(interval, integer), app.reap_work(integer),
app.give_up_work(bigint[], text, interval),
app.enqueue(text, jsonb, text, smallint, interval, smallint),
app.enqueue_many(text, jsonb[], text[], smallint, interval, smallint);
drop table if exists public.work_archive, public.work_dead, public.work_queue;

commit;
