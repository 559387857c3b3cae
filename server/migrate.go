package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/hubbub-chat/hubbub/internal/process"
	"github.com/hubbub-chat/hubbub/schema"
	"github.com/hubbub-chat/hubbub/sink"
)

// migrateCmd brings the tables of a MySQL database up to date. serve and sink
// create them in an empty database; to change those that have data is for a
// person to time.
type migrateCmd struct {
	mysqlFlags
	VSchema bool `name:"vschema" env:"-" help:"Print the vschema that a sharded keyspace of Vitess or PlanetScale needs before, and exit."`
}

// Run implements the migrate command. It may be run while nodes are running,
// and more than once.
func (c *migrateCmd) Run() error {
	if c.VSchema {
		_, err := fmt.Print(schema.VSchema)
		return err
	}
	if err := c.Validate(); err != nil {
		return usageError{err}
	}
	cfg, err := c.mysqlConfig()
	if err != nil {
		return usageError{err}
	}
	ctx, stop := process.EndContext(context.Background())
	defer stop()
	from, to, err := sink.MigrateMySQL(ctx, cfg)
	if err != nil {
		return fmt.Errorf("--mysql: %w", err)
	}
	if from == to {
		fmt.Printf("The tables are up to date: version %d.\n", to)
	} else {
		fmt.Printf("The tables went from version %d to %d.\n", from, to)
	}
	return nil
}

// Validate reports the first value that cannot be meant.
func (c *migrateCmd) Validate() error {
	if c.VSchema {
		return nil
	}
	if c.MySQL == "" {
		return errors.New("--mysql is needed: which database?")
	}
	return c.mysqlFlags.Validate()
}
