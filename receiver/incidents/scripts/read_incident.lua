-- Read a group's version and head, with the time in ms by this server's clock.   KEYS: group
local stored, time = redis.call('HMGET', KEYS[1], 'v', 'head'), redis.call('TIME')
return {stored[1] or '0', stored[2] or '', time[1] * 1000 + math.floor(time[2] / 1000)}
