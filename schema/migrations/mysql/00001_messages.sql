-- +goose Up

-- MySQL, MariaDB and PlanetScale. What a keyspace that is sharded by room can
-- bear: no foreign key, no AUTO_INCREMENT, and the room first in every key of
-- a table of messages. MySQL commits each CREATE by itself, so each can be
-- repeated when a migration was cut off in the middle.
--
-- Rooms are compared byte by byte. That utf8mb4_bin pads with blanks does no
-- harm: the name of a room has none at its end (schema.CheckChannel). Users
-- and keys are any bytes, so they are VARBINARY: two keys that differ in a
-- blank must not be one, or a message would be hidden as a duplicate.

-- One row a message; the rows of a room lie side by side. There is one unique
-- key and nothing but it; a second one would let an upsert move a row.
CREATE TABLE IF NOT EXISTS messages (
    room     VARCHAR(255)   NOT NULL,
    seq      BIGINT         NOT NULL,            -- the offset
    prev     BIGINT         NOT NULL,
    sender   VARBINARY(255) NOT NULL,            -- user id, '' when a server published
    client   VARBINARY(255) NOT NULL,            -- connection id, '' when a server published
    info     MEDIUMBLOB     NOT NULL,            -- conn_info, empty when there is none
    send_key VARBINARY(255) NOT NULL,            -- idempotency key, '' when there is none
    dup_of   BIGINT         NOT NULL DEFAULT 0,  -- 0: shown; else hidden: the seq this one repeats, or -1: a tombstone
    body     MEDIUMBLOB     NOT NULL,
    PRIMARY KEY (room, seq),
    CONSTRAINT messages_room CHECK (room <> ''),
    CONSTRAINT messages_seq  CHECK (seq > 0 AND prev >= 0 AND prev < seq)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What an idempotency key was first used for.
CREATE TABLE IF NOT EXISTS sends (
    room     VARCHAR(255)   NOT NULL,
    sender   VARBINARY(255) NOT NULL,
    send_key VARBINARY(255) NOT NULL,
    seq      BIGINT         NOT NULL,
    PRIMARY KEY (room, sender, send_key)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- How far each partition of the log is stored. It moves in the transaction
-- that stores, and only from where that writer believed it to be.
CREATE TABLE IF NOT EXISTS positions (
    topic VARCHAR(255) NOT NULL,
    part  INT          NOT NULL,
    pos   BIGINT       NOT NULL,                 -- the first record that is not stored
    moved BIGINT       NOT NULL,                 -- when, in Unix milliseconds
    PRIMARY KEY (topic, part)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What the writer of a partition still owes: a message that others point at
-- and nobody has stored (seq, a tombstone until then), or a room's heal (seq 0).
CREATE TABLE IF NOT EXISTS repairs (
    topic VARCHAR(255)   NOT NULL,
    part  INT            NOT NULL,
    room  VARCHAR(255)   NOT NULL,
    seq   BIGINT         NOT NULL,
    epoch VARBINARY(255) NOT NULL,               -- of a heal
    since BIGINT         NOT NULL,               -- Unix milliseconds
    PRIMARY KEY (topic, part, room, seq)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What is true of the whole database, by name: 'epoch'.
CREATE TABLE IF NOT EXISTS meta (
    name  VARCHAR(255) NOT NULL PRIMARY KEY,
    value VARCHAR(255) NOT NULL
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- +goose Down
DROP TABLE meta;
DROP TABLE repairs;
DROP TABLE positions;
DROP TABLE sends;
DROP TABLE messages;
