-- Prolong a worker's loans.   KEYS: claims, owners   ARGV: worker, new end, then the incidents
local kept = 0
for i = 3, #ARGV do
  if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[1] then
    kept = kept + redis.call('ZADD', KEYS[1], 'XX', 'CH', ARGV[2], ARGV[i])
  end
end
return kept
