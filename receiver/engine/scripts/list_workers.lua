-- List the workers whose last heartbeat lies between two times.
-- KEYS: workers   ARGV: the two times
return redis.call('ZRANGEBYSCORE', KEYS[1], timestamp(ARGV[1]), timestamp(ARGV[2]))
