-- Chapter 10: The work queue

-- enqueue_work as service_role
select public.enqueue_work('inventory_push', '{"sku": "dev-gold-candle"}', 'dev-gold-candle');

-- enqueue_work_many as service_role
select public.enqueue_work_many(
  'inventory_push', array['{"sku": "one"}', '{"sku": "two"}']::jsonb[], array['one', 'two']
);

-- claim_work as service_role
select job.id, job.token, job.payload
from public.claim_work(array['inventory_push', 'reconcile'], 'worker-1', p_limit => 20) as job;

-- complete_work as service_role
select public.enqueue_work('reconcile', '{"store": "bannos"}', 'bannos');
select public.complete_work(job.token, array_agg(job.id))
from public.claim_work(array['reconcile'], 'worker-1') as job
group by job.token;

-- fail_work as service_role
select public.enqueue_work('reconcile', '{"store": "bannos"}', 'bannos');
select public.fail_work(job.token, array_agg(job.id), 'The shop did not answer.')
from public.claim_work(array['reconcile'], 'worker-1') as job
group by job.token;

-- extend_work_lease as service_role
select public.enqueue_work('reconcile', '{"store": "bannos"}', 'bannos');
select public.extend_work_lease(job.token, array_agg(job.id), '10 minutes')
from public.claim_work(array['reconcile'], 'worker-1') as job
group by job.token;

-- complete_and_claim_work as service_role
select public.enqueue_work('reconcile', '{"store": "bannos"}', 'bannos');
select next.id, next.payload
from public.claim_work(array['reconcile'], 'worker-1') as job,
lateral public.complete_and_claim_work(
  job.token, array[job.id], array['reconcile'], 'worker-1'
) as next;

-- reap_work as service_role
select public.reap_work();

-- requeue_dead_work as Admin
select public.requeue_dead_work(array(select dead.id from public.get_dead_work() as dead));

-- get_dead_work as Admin
select dead.id, dead.topic, dead.last_error
from public.get_dead_work('inventory_push', p_limit => 10) as dead;

-- get_work_queue_stats as Admin
select stats.topic, stats.ready, stats.running, stats.dead
from public.get_work_queue_stats() as stats;
