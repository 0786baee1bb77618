-- Return the next due time of a queue on this shard.
-- KEYS: leases, then the queues   ARGV: now, latest plausible end of a lease
-- Returns that time, '' if there is none.
local now, next_at = timestamp(ARGV[1]), nil
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if last and tonumber(last) > tonumber(timestamp(ARGV[2])) then next_at = now end
for i = 1, #KEYS do
  local score = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')[2]
  if score and (not next_at or tonumber(score) < tonumber(next_at)) then next_at = score end
end
return next_at and timestamp_like(ARGV[1], now, next_at) or ''
