package main

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/loadgen/scenario"
)

// command runs a program beside a phase; n is how many actions there were
// before. It is given a minute longer than the phase, and then killed.
func command(env environment, words []string, round int) (done func() error) {
	ctx, cancel := context.WithCancel(env.ctx)
	n := strconv.Itoa(round)
	args := make([]string, len(words))
	for i, w := range words {
		args[i] = strings.ReplaceAll(w, "{n}", n)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // the scenario's author says what to run
	cmd.Stdout, cmd.Stderr = env.stderr, env.stderr
	result := make(chan error, 1)
	go func() { result <- cmd.Run() }() // ends with ctx
	return func() error {
		defer cancel()
		timer := time.AfterFunc(time.Minute, cancel)
		defer timer.Stop()
		if err := <-result; err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		return nil
	}
}

// expectations are the promises of a scenario that a run did not keep.
func expectations(e *scenario.Expect, r *report.Report) (faults []string) {
	faults = append(faults, r.Messages.Delivery.Broken("delivery", e.P99.Value), r.Messages.Ack.Broken("ack", e.AckP99.Value))
	return slices.DeleteFunc(faults, func(f string) bool { return f == "" })
}
