-- +goose Up

-- Users who may not connect, whatever token they bring.
CREATE TABLE blocked (
    list TEXT    NOT NULL,  -- 'users'
    name TEXT    NOT NULL,  -- user id
    ends INTEGER NOT NULL,  -- Unix seconds, 0 for never
    PRIMARY KEY (list, name)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE blocked;
