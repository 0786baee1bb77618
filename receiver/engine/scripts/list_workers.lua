-- Tell which workers gave their last sign of life between two moments.
-- KEYS: workers   ARGV: the two moments
return redis.call('ZRANGEBYSCORE', KEYS[1], moment(ARGV[1]), moment(ARGV[2]))
