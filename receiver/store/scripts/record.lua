-- Keep how a delivery stands, wherever its incident lies by now.
-- KEYS: group, past, timeline, owners, then an agenda for each lane to wake
-- ARGV: id, worker ('' writes without asking whose the incident is), field, value, moment due, wake
--       channel, timeline cap, number of events, the events, then the lanes' names
-- Returns 1, 0 when another worker has the incident, -1 when the incident is gone.
if ARGV[2] ~= '' and redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[2] then return 0 end
local home = KEYS[1]
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then home = KEYS[2] end
if redis.call('EXISTS', home) == 0 then return -1 end
redis.call('HSET', home, ARGV[3], ARGV[4])
local n = tonumber(ARGV[8])
for i = 1, n do redis.call('RPUSH', KEYS[3], ARGV[8 + i]) end
if n > 0 then
  redis.call('LTRIM', KEYS[3], -tonumber(ARGV[7]), -1)
  local ttl = redis.call('TTL', home)
  if ttl > 0 then redis.call('EXPIRE', KEYS[3], ttl) end
end
for i = 5, #KEYS do
  redis.call('ZADD', KEYS[i], 'LT', ARGV[5], ARGV[1])
  redis.call('PUBLISH', ARGV[6], ARGV[8 + n + i - 4] .. ' ' .. ARGV[5])
end
return 1
