package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/hubbub-chat/hubbub/internal/process"
	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/loadgen/scenario"
)

// The exit codes.
const (
	exitOK      = 0
	exitFaults  = 1 // the run found something wrong, or could not be done
	exitUsage   = 2 // a bad flag: nothing was done
	exitInvalid = 3 // all was right, but the tool was the bottleneck (with --strict)
)

// commands are the scenarios.
type commands struct {
	Run       runCmd       `cmd:"" help:"Hold connections, publish on a schedule, report latencies and check the order."`
	Play      playCmd      `cmd:"" help:"Play a scenario: a YAML file, or one of the built-in ones."`
	Scenarios scenariosCmd `cmd:"" help:"List the built-in scenarios, or show the text of one, to begin from."`
	Density   densityCmd   `cmd:"" help:"Open connections in steps and tell the memory that each costs a server, which should have just been started."`
	Compare   compareCmd   `cmd:"" help:"Put reports side by side, with intervals."`
	FindMax   findMaxCmd   `cmd:"" help:"Search the highest load at which a server keeps an SLO, and say which resource gave out."`
	Work      workCmd      `cmd:"" help:"Be a worker: play what a coordinator (play --worker) asks for."`
	Plan      planCmd      `cmd:"" help:"From measured figures and a target to the number of nodes, and what stands behind them."`
	Selftest  selftestCmd  `cmd:"" help:"Measure this tool itself, against a null server: what may its figures be trusted for on this machine?"`
	Null      nullCmd      `cmd:"" help:"Run the null server, which is never the bottleneck, by itself."`
	Hostile   hostileCmd   `cmd:"" help:"Attack the server in many ways: what do honest clients notice, and how does each attacker end?"`
}

// environment is what a scenario gets from outside.
type environment struct {
	ctx            context.Context // cancelled by Ctrl-C, and when the terminal is closed
	stdout, stderr io.Writer
	keep           func(*report.Outcome) // also gets what is left of a run; nil: nobody
	lookup         lookup                // of names; nil: the resolver of the system
	shift          *shift                // what is played is a part of; nil: it is all
}

// usageError is a flag's value that cannot be.
type usageError string

func (e usageError) Error() string { return string(e) }

// errFaults is a run that was done and is reported, and was not right.
var errFaults = errors.New("faults found")

// errInvalid is a run that was right, and whose figures are not to be trusted.
var errInvalid = errors.New("this tool was the bottleneck")

func main() {
	// The loops and the metronome spend their time in system calls; with no P
	// to spare, a loop that returns from one would wait for another's.
	runtime.GOMAXPROCS(max(process.CPUs(), 4))
	process.IgnoreBrokenPipes()
	ctx, stop := process.EndContext(context.Background())
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	os.Exit(execute(environment{ctx: ctx, stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:]))
}

// execute runs one command line and returns the exit code.
func execute(env environment, args []string) int {
	var cli commands
	parser, err := kong.New(&cli, kong.Name("loadgen"), kong.Vars{"attacks": attackNames(), "scenarios": strings.Join(scenario.Names(), ", ")}, kong.Writers(env.stdout, env.stderr),
		kong.Description("Load for chat servers that speak the Centrifuge protocol. Exit code 0: all was right; "+
			"1: faults were found, or the run could not be done; 2: a bad flag; 3 (with --strict): right, but this tool was the bottleneck."),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		panic(err) // the tags of the commands
	}
	line, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(env.stderr, "loadgen: %v\n", err)
		return exitUsage
	}
	err = line.Run(env)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errInvalid): // the report says why
		return exitInvalid
	case errors.As(err, &usage):
		fmt.Fprintf(env.stderr, "loadgen: %v\n", err)
		return exitUsage
	case !errors.Is(err, errFaults): // those are in the report
		fmt.Fprintf(env.stderr, "loadgen: %v\n", err)
	}
	return exitFaults
}
