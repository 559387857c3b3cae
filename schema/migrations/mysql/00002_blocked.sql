-- +goose Up

-- Users who may not connect, whatever token they bring. There are few, and who
-- reads them reads all: the key begins with the name of the list, so that they
-- are in one shard.
CREATE TABLE IF NOT EXISTS blocked (
    list VARCHAR(255)   NOT NULL,  -- 'users'
    name VARBINARY(255) NOT NULL,  -- user id
    ends BIGINT         NOT NULL,  -- Unix seconds, 0 for never
    PRIMARY KEY (list, name)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- +goose Down
DROP TABLE blocked;
