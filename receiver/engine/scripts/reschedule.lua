-- Make all entries of a queue on this shard due now, and let no lease end later than one made now.
-- KEYS: leases, then the queues   ARGV: now, end of a lease made now
local function advance(key, at)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. at, '+inf')) do
    redis.call('ZADD', key, at, member)
  end
end
advance(KEYS[1], timestamp(ARGV[2]))
local now = timestamp(ARGV[1])
for i = 2, #KEYS do advance(KEYS[i], now) end
