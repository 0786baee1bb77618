-- Let a worker's loans end that it does not work on: its own from before it was killed, or from before the
-- store was away.   KEYS: claims, owners   ARGV: worker, when they end, then what it works on
local at_work, ends_at = {}, moment(ARGV[2])
for i = 3, #ARGV do at_work[ARGV[i]] = true end
local owners = redis.call('HGETALL', KEYS[2])
for i = 1, #owners, 2 do
  if owners[i + 1] == ARGV[1] and not at_work[owners[i]] then
    redis.call('ZADD', KEYS[1], 'XX', 'LT', ends_at, owners[i])
  end
end
