package redis

import (
	"context"
	"crypto/sha1" //nolint:gosec // the name EVALSHA gives to scripts
	_ "embed"
	"encoding/hex"
	"fmt"

	"github.com/redis/rueidis"
)

// script is a Lua script that Redis knows by its digest.
type script struct{ text, digest string }

var (
	//go:embed state.lua
	stateText string
	//go:embed mint.lua
	mintText string
	//go:embed sync.lua
	syncText string
	//go:embed confirm.lua
	confirmText string
	//go:embed renew.lua
	renewText string
	//go:embed nodes.lua
	nodesText string
	//go:embed attend.lua
	attendText string
	//go:embed attended.lua
	attendedText string
	//go:embed absent.lua
	absentText string

	mintScript     = newScript(mintText)
	syncScript     = newScript(syncText)
	confirmScript  = newScript(confirmText)
	renewScript    = newScript(renewText)
	nodesScript    = newScript(nodesText)
	attendScript   = newScript(attendText)
	attendedScript = newScript(attendedText)
	absentScript   = newScript(absentText)

	// asideScript puts a key of another type out of the way: KEYS the key, ARGV
	// the type that it should have.
	asideScript = newScript("return set_aside(KEYS[1], ARGV[1]) and 1 or 0")
)

// newScript makes a script of its own text, behind what all of them share.
func newScript(text string) *script {
	text = stateText + text
	sum := sha1.Sum([]byte(text)) //nolint:gosec // see above
	return &script{text, hex.EncodeToString(sum[:])}
}

// call is a script with its arguments.
type call struct {
	script     *script
	keys, args []string
}

// run executes calls in one pipeline. A server that does not know a script
// yet, a new primary among them, is told.
func run(ctx context.Context, c rueidis.Client, calls []call) []rueidis.RedisResult {
	commands := make(rueidis.Commands, len(calls))
	for i, call := range calls {
		commands[i] = c.B().Evalsha().Sha1(call.script.digest).Numkeys(int64(len(call.keys))).Key(call.keys...).Arg(call.args...).Build()
	}
	results := c.DoMulti(ctx, commands...)
	for i, r := range results {
		if err, ok := rueidis.IsRedisErr(r.Error()); ok && err.IsNoScript() {
			call := calls[i]
			results[i] = c.Do(ctx, c.B().Eval().Script(call.script.text).Numkeys(int64(len(call.keys))).Key(call.keys...).Arg(call.args...).Build())
		}
	}
	return results
}

func (c call) run(ctx context.Context, client rueidis.Client) rueidis.RedisResult {
	return run(ctx, client, []call{c})[0]
}

// decimal is a number as scripts take it.
func decimal[N int | int64 | uint64](n N) string { return fmt.Sprint(n) }
