-- Delete the posted notices and start the next message.
-- KEYS: pending notices, state of the message   ARGV: new state, seconds to keep it, then the posted notices
for i = 3, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return 1
