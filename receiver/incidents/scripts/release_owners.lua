-- Let the owners of ended alerts expire, unless the alerts were claimed again.
-- KEYS: owners, ended owners
-- ARGV: group_id, ms within which a claim may still become an incident, seconds to keep, then the alerts
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 4, #ARGV do
  local claim = redis.call('HGET', KEYS[1], ARGV[i])
  local group_id, at = (claim or ''):match('^(.*) (.*)$')
  if group_id == ARGV[1] and now - at >= tonumber(ARGV[2]) then
    redis.call('ZADD', KEYS[2], now + ARGV[3] * 1000, ARGV[i])
  end
end
if redis.call('HLEN', KEYS[1]) == redis.call('ZCARD', KEYS[2]) then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
local ttl = redis.call('TTL', KEYS[1])
if ttl > 0 then redis.call('EXPIRE', KEYS[2], ttl) end
return 1
