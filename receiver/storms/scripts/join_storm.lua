-- Add a member to a storm, unless the storm changed since it was read.
-- KEYS: storm, members, work queue
-- ARGV: version read, member's name, packed member, due at ('': do not enqueue), id, wake channel, queue name
-- Returns 1 if added, else 0.
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('HINCRBY', KEYS[1], 'n', 1)
if ARGV[4] ~= '' then enqueue(KEYS[3], ARGV[5], ARGV[4], ARGV[6], ARGV[7]) end
return 1
