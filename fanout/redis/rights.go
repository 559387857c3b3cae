package redis

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

//go:embed rights.lua
var rightsText string

// rights reports what the user lacks, as ACL rules to give it. Else the first
// message that needs a right would show it, and may be half done by then.
func (c *Client) rights(ctx context.Context, node rueidis.Client) error {
	relay := "1"
	if c.writer {
		relay = "0"
	}
	rules, err := node.Do(ctx, node.B().Eval().Script(rightsText).Numkeys(0).Arg(string(c.keys), relay).Build()).AsStrSlice()
	if a, _ := answerOf(err); a.right {
		rules, err = []string{"+eval", "+evalsha"}, nil
	}
	if err != nil {
		return err
	}
	if len(rules) > 0 {
		return fmt.Errorf("the Redis user may not do what is needed: add %s to its rules (docs/redis.md has them all)", strings.Join(rules, " "))
	}
	return nil
}

// allRights is rights on every server.
func (c *Client) allRights(ctx context.Context) error {
	for _, node := range c.rueidis.Nodes() {
		if err := c.rights(ctx, node); err != nil {
			return err
		}
	}
	return nil
}
