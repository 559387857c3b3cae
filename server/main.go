// Command hubbub is the chat server: one node that runs alone.
//
// This package wires the others and holds no policy. Node is the program as a
// type; main parses flags, starts one and waits for a signal. Its goroutines:
// the engine's loops, the HTTP server's, the writer of the
// store and its readers, and the hub's janitor; Node.Stop ends them all.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/hubbub-chat/hubbub/internal/process"
)

// version is set by the linker.
var version = "dev"

// cli is the command line. Every flag is also HUBBUB_NAME in the environment.
type cli struct {
	Serve   serveCmd         `cmd:"" default:"withargs" help:"Run a node (the default)."`
	Sink    sinkCmd          `cmd:"" help:"Write what is in Kafka to MySQL."`
	Migrate migrateCmd       `cmd:"" help:"Bring the tables of a MySQL database up to date."`
	Token   tokenCmd         `cmd:"" help:"Make a signed token, for trying."`
	Version kong.VersionFlag `env:"-" help:"Print the version and exit."`
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main with its surroundings as arguments. It returns the exit code:
// 0, 1 for a failure, 2 for a command line that means nothing.
func run(args []string, stdout, stderr io.Writer) int {
	process.IgnoreBrokenPipes()
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("hubbub"),
		kong.Description("A chat server for very many connections."),
		kong.Vars{"version": "hubbub " + version},
		kong.DefaultEnvars("HUBBUB"),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
	)
	if err != nil {
		fmt.Fprintln(stderr, "hubbub:", err)
		return 1
	}
	command, err := parser.Parse(args)
	if exited >= 0 {
		return exited // --help or --version
	}
	// First: a flag that is missing may be one that is misspelt there.
	if misspelt := checkEnvironment(parser.Model, os.Environ(), stderr); misspelt != nil {
		err = misspelt
	}
	if err == nil {
		err = command.Run()
		if err == nil {
			return 0
		}
		if u := (usageError{}); !errors.As(err, &u) {
			fmt.Fprintln(stderr, "hubbub:", err)
			return 1
		}
	}
	fmt.Fprintln(stderr, "hubbub:", err)
	return 2
}

// usageError is a value that no node could start with.
type usageError struct{ error }

// Run implements the serve command: it returns when a signal, or the end of
// the terminal, has ended the node. A second signal ends the program at once.
func (c *serveCmd) Run() error {
	if err := c.Validate(); err != nil {
		return usageError{err}
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // heaps are small here and connections many: memory is worth more than the little CPU
	}
	log, err := c.logger()
	if err != nil {
		return usageError{err}
	}
	defer log.Sync() //nolint:errcheck // stderr cannot be synced everywhere
	node, err := NewNode(*c, log)
	if err != nil {
		return err
	}
	signals, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	terminal := process.StartedFrom()
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	node.Start() // all signals are caught: whoever sees the line below may send them
	fmt.Fprintf(os.Stdout, "Hubbub is at %s\n", node.URL())
	for {
		select {
		case <-hangUp:
			if terminal.Closed() {
				log.Info("the terminal was closed")
				stop()
				return node.Stop()
			}
			node.Reload()
		case <-signals.Done():
			stop()
			return node.Stop()
		case err := <-node.Failed():
			return errors.Join(err, node.Stop())
		}
	}
}
