-- Read a group, and when that was by this server's clock.   KEYS: group
local held, time = redis.call('HMGET', KEYS[1], 'v', 'head'), redis.call('TIME')
return {held[1] or '0', held[2] or '', time[1] * 1000 + math.floor(time[2] / 1000)}
