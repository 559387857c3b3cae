-- Says who has clients in a room, and renews what would be forgotten.
--
-- KEYS  boots, users, the calling node's clients
-- ARGV  1 ms after which a room that is not heard of is forgotten
-- Returns the boots, each with its field, and the number of users with a name.
readable_presence(KEYS)
for i = 1, 3 do
  local left = redis.call('PTTL', KEYS[i])
  if left >= 0 and left < ARGV[1] / 2 then redis.pcall('PEXPIRE', KEYS[i], ARGV[1]) end -- a Redis that takes no writes is still asked
end
return {redis.call('HGETALL', KEYS[1]), redis.call('HLEN', KEYS[2])}
