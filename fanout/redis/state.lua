-- What every script agrees on; it stands before each of them.
local function text(n) return string.format('%.0f', n) end

-- An offset as it is written here, nil for anything else: tonumber alone takes nan and 0x10. Above the
-- limit numbers are not exact, and there would soon be no more.
local function number(s)
  local n = type(s) == 'string' and string.find(s, '^%d+$') and tonumber(s)
  return n and n < 9.0e15 and n or nil
end

local function readable(epoch)
  return type(epoch) == 'string' and string.find(epoch, '^%x%x%x%x%x%x%x%x%.%x%x%x%x%x%x%x%x$') ~= nil
end

-- Where an entry of a stream stands.
local function id(entry) return number((string.gsub(entry[1], '-.*', ''))) or 0 end

-- The oldest offset that a mark keeps; 0, everything, when the mark cannot be read.
local function oldest_of(mark) return number(string.match(mark, '^(%d+) %d+$')) or 0 end

-- Whether a stream has lost what the caller knows: it lacks the offset, has older ones, and what comes
-- next does not go on from there. (An entry may be missing by itself: it was deleted, or could not be
-- restored. Then the caller has missed nothing.)
local function lacks(stream, offset)
  if #redis.call('XRANGE', stream, offset, offset) > 0 then return false end
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not oldest or id(oldest) > tonumber(offset) then return false end
  local next = redis.call('XRANGE', stream, offset, '+', 'COUNT', 1)[1]
  return not (next and next[2][1] == 'p' and number(next[2][2]) == tonumber(offset))
end

-- Puts a key of another type out of the way, for a day, and reports whether it did.
local function set_aside(key, kind)
  local found = redis.call('TYPE', key).ok
  if found == 'none' or found == kind then return false end
  redis.call('RENAME', key, key .. ':unreadable')
  redis.call('PEXPIRE', key .. ':unreadable', 86400000)
  return true
end

-- Whose client an entry of the presence is, empty for a guest and for what cannot be read.
local function user(entry) return #entry < 2 and '' or string.sub(entry, 3, 2 + struct.unpack('>I2', entry)) end

-- Forgets who is in a room, all of it, since its parts would not agree: every node writes its own anew.
-- The keys are boots, users and one boot's clients, whose name ends with 16 letters for the boot.
local function forget_presence(keys)
  for _, boot in ipairs(redis.call('HKEYS', keys[1])) do redis.call('DEL', string.sub(keys[3], 1, -17) .. boot) end
  redis.call('DEL', keys[1], keys[2], keys[3])
end

local function readable_presence(keys)
  local aside = false
  for i = 1, 3 do aside = set_aside(keys[i], 'hash') or aside end
  if aside then forget_presence(keys) end
end
