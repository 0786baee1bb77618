-- Store a job and enqueue it, unless one of its names is known already.
-- KEYS: queue, job, then other names of the same job
-- ARGV: payload, seconds to keep, member, due time, wake channel, queue
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then return 0 end
end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
for i = 3, #KEYS do redis.call('SET', KEYS[i], 'done', 'EX', ARGV[2]) end
enqueue(KEYS[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
return 1
