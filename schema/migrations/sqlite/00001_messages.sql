-- +goose Up

-- One row a message, in the order a page of history is read: the rows of a
-- room lie side by side, so a page is one descent and a scan. There is one
-- unique key and nothing but it; a second one would let an upsert move a row.
CREATE TABLE messages (
    room     TEXT    NOT NULL CHECK (octet_length(room) BETWEEN 1 AND 255),
    seq      INTEGER NOT NULL CHECK (seq > 0),   -- the offset; a reserved word elsewhere
    prev     INTEGER NOT NULL CHECK (prev >= 0 AND prev < seq),
    sender   TEXT    NOT NULL,                   -- user id, '' when a server published
    client   TEXT    NOT NULL,                   -- connection id, '' when a server published
    info     BLOB    NOT NULL,                   -- conn_info, empty when there is none
    send_key TEXT    NOT NULL,                   -- idempotency key, '' when there is none
    dup_of   INTEGER NOT NULL DEFAULT 0,         -- the seq this one repeats, 0 when it repeats none
    body     BLOB    NOT NULL,
    PRIMARY KEY (room, seq)
) STRICT, WITHOUT ROWID;

-- What an idempotency key was first used for.
CREATE TABLE sends (
    room     TEXT    NOT NULL CHECK (octet_length(room) BETWEEN 1 AND 255),
    sender   TEXT    NOT NULL,
    send_key TEXT    NOT NULL,
    seq      INTEGER NOT NULL CHECK (seq > 0),
    PRIMARY KEY (room, sender, send_key)
) STRICT, WITHOUT ROWID;

-- What is true of the whole database, by name: 'epoch'.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE meta;
DROP TABLE sends;
DROP TABLE messages;
