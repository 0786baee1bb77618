-- Record that the receiver is up, and return since when without a gap.
-- KEYS: uptime
-- ARGV: now by Redis' clock, now by the process's clock, by how much that was ahead at its last call
--       ('': unknown), tolerated change of that, seconds without a call that make a gap, seconds to keep
-- Returns the start of the uptime by a process's clock, and by how much this process's is ahead of Redis'.
local now, since = tonumber(timestamp(ARGV[1])), ARGV[2]
local ahead = ARGV[2] - now
local is_set = ARGV[3] ~= '' and math.abs(ahead - ARGV[3]) > tonumber(ARGV[4])
local last = redis.call('HMGET', KEYS[1], 'at', 'since')
if last[1] and not is_set and math.abs(now - last[1]) <= tonumber(ARGV[5]) then since = last[2] end
redis.call('HSET', KEYS[1], 'at', string.format('%.6f', now), 'since', since)
redis.call('EXPIRE', KEYS[1], ARGV[6])
return {since, string.format('%.6f', ahead)}
