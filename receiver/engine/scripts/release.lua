-- Release a lease and enqueue the incident again at its due times; earlier due times are kept.
-- KEYS: leases, lease_owners, then the queues   ARGV: incident, worker, wake channel, then a due time and
--       a name for each queue (a due time of '' leaves the queue as it is)
-- Returns 0 if another worker holds the lease, else 1.
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
for i = 3, #KEYS do
  local due, queue = ARGV[4 + (i - 3) * 2], ARGV[5 + (i - 3) * 2]
  if due ~= '' then enqueue(KEYS[i], ARGV[1], due, ARGV[3], queue) end
end
return 1
