-- Renew a worker's leases.   KEYS: leases, lease_owners   ARGV: worker, new end, then the incidents
local kept, ends_at = 0, timestamp(ARGV[2])
for i = 3, #ARGV do
  if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[1] then
    kept = kept + redis.call('ZADD', KEYS[1], 'XX', 'CH', ends_at, ARGV[i])
  end
end
return kept
