-- Count the due entries of a queue on this shard.
-- KEYS: the queues   ARGV: now
-- Returns the count, and the earliest due time ('' if the queue is empty).
local now, due, first = timestamp(ARGV[1]), 0, nil
for i = 1, #KEYS do
  due = due + redis.call('ZCOUNT', KEYS[i], '-inf', now)
  local score = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')[2]
  if score and (not first or tonumber(score) < tonumber(first)) then first = score end
end
return {due, first and timestamp_like(ARGV[1], now, first) or ''}
