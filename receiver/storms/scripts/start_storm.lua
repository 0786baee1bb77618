-- Save a new storm, unless its target has another active storm.
-- KEYS: active storms by target, storm, unresolved storms, work queue
-- ARGV: target key, id of the active storm it may replace ('' for none), id, packed state, began at, due at,
--       wake channel, queue name
-- Returns the id of the target's active storm.
local on = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if on ~= '' and on ~= ARGV[2] then return on end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[2], 'v', '1', 'n', '0', 'state', ARGV[4])
redis.call('ZADD', KEYS[3], ARGV[5], ARGV[3])
enqueue(KEYS[4], ARGV[3], ARGV[6], ARGV[7], ARGV[8])
return ARGV[3]
