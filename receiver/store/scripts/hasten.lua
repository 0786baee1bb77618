-- Have everything looked at that waits in a lane on this shard, and let no loan last longer than one made now.
-- KEYS: claims, then the queues   ARGV: now, end of a loan made now
local function draw_near(key, at)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. at, '+inf')) do
    redis.call('ZADD', key, at, member)
  end
end
draw_near(KEYS[1], moment(ARGV[2]))
local now = moment(ARGV[1])
for i = 2, #KEYS do draw_near(KEYS[i], now) end
