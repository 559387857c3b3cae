-- Gives a batch of one room its offsets, keeps it in the stream and brings it
-- to every node. First what can fail, then what others see: a script that
-- fails is not rolled back.
--
-- KEYS  state, stream, idempotency keys ...
-- ARGV  1 the caller's boot    2 its clock, ms        3 the last offset it knows of, 0: none
--       4 the highest offset the store has, -1: it did not look   5 an epoch, for a new history
--       6 its oldest unconfirmed offset, 0: none      7 entries to keep   8 ms to keep them
--       9 ms after which an idle room is forgotten    10 the epoch that 3 belongs to, empty: none
--       then three for each message: body, index of its key in KEYS (0: none), hash of its payload
-- Returns the epoch, and 17 bytes for each message: 0 and its offset and prev, 1 and those of the
-- message that had the key before, or 2: the key was used for another message.
--
-- A state, a stream or a key that cannot be read counts as lost: the room gets another epoch.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if math.abs(now - ARGV[2]) > 1000 then
  return redis.error_reply('CLOCK Redis and the node disagree by ' .. text(now - ARGV[2]) .. ' ms')
end

local s = redis.pcall('HMGET', KEYS[1], 'last', 'epoch', 'trimmed', 'o:' .. ARGV[1])
if s.err then
  if not set_aside(KEYS[1], 'hash') then return s end
  s = {}
end
local last, epoch = number(s[1]), s[2]
local known, floor = tonumber(ARGV[3]), tonumber(ARGV[4])
if not last then
  if floor < 0 then return redis.error_reply('COLD the room is new, expired or lost') end
  set_aside(KEYS[2], 'stream')
  local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
  last, epoch = math.max(known, floor, newest and id(newest) or 0), ARGV[5]
elseif math.max(known, floor) > last then
  last, epoch = math.max(known, floor), ARGV[5]
elseif not readable(epoch) then
  epoch = ARGV[5]
elseif known > 0 and known < last and epoch == ARGV[10] then
  if set_aside(KEYS[2], 'stream') or lacks(KEYS[2], ARGV[3]) then epoch = ARGV[5] end
end

-- What keeps the stream from taking an entry, if it can be helped: it is none, or goes on behind `last`.
local function mend()
  if set_aside(KEYS[2], 'stream') then return true end
  local info = redis.pcall('XINFO', 'STREAM', KEYS[2])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      local top = number((string.gsub(info[i + 1], '-.*', '')))
      if not top then return set_aside(KEYS[2], 'none') end
      if top < math.max(last + 1, now * 1024) then return false end
      last = top
      return true
    end
  end
  return false
end

local first, prev = nil, last
local replies, batch = {}, {}
for i = 11, #ARGV, 3 do
  local body, key = ARGV[i], tonumber(ARGV[i + 1])
  local before = key > 0 and redis.pcall('GET', KEYS[key])
  if type(before) == 'string' and #before == 24 then
    if string.sub(before, 17) == ARGV[i + 2] then
      replies[#replies + 1] = '\1' .. string.sub(before, 1, 16)
    else
      replies[#replies + 1] = '\2' .. string.rep('\0', 16)
    end
  else
    local offset = math.max(last + 1, now * 1024)
    local added = redis.pcall('XADD', KEYS[2], text(offset) .. '-0', 'p', text(last), 'b', body)
    if type(added) == 'table' and added.err then
      if first or not mend() then return added end
      epoch, prev, offset = ARGV[5], last, math.max(last + 1, now * 1024)
      redis.call('XADD', KEYS[2], text(offset) .. '-0', 'p', text(last), 'b', body)
    end
    local place = struct.pack('>I8I8', offset, last)
    if key > 0 then redis.call('SET', KEYS[key], place .. ARGV[i + 2], 'PX', 120000) end
    replies[#replies + 1] = '\0' .. place
    batch[#batch + 1] = struct.pack('>I8I4', offset, #body) .. body
    first = first or offset
    last = offset
  end
end
if not first then return epoch .. table.concat(replies) end

-- The caller's mark: its oldest unconfirmed offset, and the newest that it got
-- here. The oldest only rises by confirmations: of a call that was executed
-- late the caller does not know yet.
local oldest = tonumber(ARGV[6])
if oldest == 0 then oldest = first end
if s[4] then oldest = math.min(oldest, oldest_of(s[4])) end
redis.call('HSET', KEYS[1], 'last', text(last), 'epoch', epoch, 'o:' .. ARGV[1], text(oldest) .. ' ' .. text(last))

-- Every ten seconds of a room's use: forget what nobody needs.
local age = text(math.floor(t[1] / 10))
if s[3] ~= age then
  redis.call('HSET', KEYS[1], 'trimmed', age)
  redis.call('PEXPIRE', KEYS[1], ARGV[9])
  redis.call('PEXPIRE', KEYS[2], ARGV[9])
  local keep = tonumber(ARGV[7])
  if redis.call('XLEN', KEYS[2]) > keep then
    local cut = (now - ARGV[8]) * 1024
    local state = redis.call('HGETALL', KEYS[1])
    for i = 1, #state, 2 do
      if string.sub(state[i], 1, 2) == 'o:' then cut = math.min(cut, oldest_of(state[i + 1])) end
    end
    if #redis.call('XRANGE', KEYS[2], text(cut), '+', 'COUNT', keep) == keep then
      redis.call('XTRIM', KEYS[2], 'MINID', text(cut))
    else
      redis.call('XTRIM', KEYS[2], 'MAXLEN', keep)
    end
  end
end

redis.call('SPUBLISH', KEYS[1], 'M' .. epoch .. struct.pack('>I8', prev) .. table.concat(batch))
return epoch .. table.concat(replies)
