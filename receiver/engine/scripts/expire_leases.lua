-- Expire those leases of a worker on which it does not work: left from before it was killed or Redis was
-- unavailable.   KEYS: leases, lease_owners   ARGV: worker, when they end, then the incidents in progress
local in_progress, ends_at = {}, timestamp(ARGV[2])
for i = 3, #ARGV do in_progress[ARGV[i]] = true end
local lease_owners = redis.call('HGETALL', KEYS[2])
for i = 1, #lease_owners, 2 do
  if lease_owners[i + 1] == ARGV[1] and not in_progress[lease_owners[i]] then
    redis.call('ZADD', KEYS[1], 'XX', 'LT', ends_at, lease_owners[i])
  end
end
