begin;
set local lock_timeout = '5s';
set local role bakehouse_owner;
drop function if exists
public.enqueue_work_many, public.enqueue_work, app.enqueue, app.enqueue_many;
drop table if exists public.work_archive, public.work_dead, public.work_queue;
commit;
