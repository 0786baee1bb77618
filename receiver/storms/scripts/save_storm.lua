-- Save a storm by compare-and-set on its version and, optionally, its join count.
-- KEYS: storm, members, active storms by target, unresolved storms, work queue
-- ARGV: version read, join count read ('' is not compared), packed state, id, its target key if it has ended
--       ('' while it is active), seconds to keep (0: not resolved, no expiry), due at ('' does not enqueue),
--       wake channel, queue name
-- Returns 1 if saved, 0 if it changed.
if (redis.call('HGET', KEYS[1], 'v') or '0') ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' and redis.call('HGET', KEYS[1], 'n') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'v', tostring(tonumber(ARGV[1]) + 1), 'state', ARGV[3])
if ARGV[5] ~= '' and redis.call('HGET', KEYS[3], ARGV[5]) == ARGV[4] then
  redis.call('HDEL', KEYS[3], ARGV[5])
end
if ARGV[6] ~= '0' then
  redis.call('EXPIRE', KEYS[1], ARGV[6])
  redis.call('EXPIRE', KEYS[2], ARGV[6])
  redis.call('ZREM', KEYS[4], ARGV[4])
end
if ARGV[7] ~= '' then enqueue(KEYS[5], ARGV[4], ARGV[7], ARGV[8], ARGV[9]) end
return 1
