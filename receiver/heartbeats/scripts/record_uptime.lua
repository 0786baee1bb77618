-- Note that we listen for beats, and tell since when without a break.
-- KEYS: listening   ARGV: now, the process's clock, by how much it was ahead when it asked last ('': unknown),
--       by how much more or less it may be, seconds after which there was a break, seconds to keep
-- Returns that moment by a process's clock, and by how much this process's is ahead of Redis'.
local now, since = tonumber(moment(ARGV[1])), ARGV[2]
local ahead = ARGV[2] - now
local is_set = ARGV[3] ~= '' and math.abs(ahead - ARGV[3]) > tonumber(ARGV[4])
local last = redis.call('HMGET', KEYS[1], 'at', 'since')
if last[1] and not is_set and math.abs(now - last[1]) <= tonumber(ARGV[5]) then since = last[2] end
redis.call('HSET', KEYS[1], 'at', string.format('%.6f', now), 'since', since)
redis.call('EXPIRE', KEYS[1], ARGV[6])
return {since, string.format('%.6f', ahead)}
