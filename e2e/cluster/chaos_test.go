package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// TestChaos breaks one or two parts at once, as chance has it, and mends them, over and
// over. It is for finding what nobody thought of: HUBBUB_CHAOS is how many times
// (each takes some 8 s), HUBBUB_CHAOS_SEED makes a run the same again.
func TestChaos(t *testing.T) {
	times, _ := strconv.Atoi(os.Getenv("HUBBUB_CHAOS"))
	if times <= 0 {
		t.Skip("runs where HUBBUB_CHAOS says how many faults")
	}
	seed, err := strconv.ParseUint(os.Getenv("HUBBUB_CHAOS_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("HUBBUB_CHAOS_SEED=%d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))

	c := startCluster(t)
	// A node that cannot reach its servers does not start: whoever comes first here is
	// mended first.
	parts := []struct {
		name string
		p    *backends.Process
	}{
		{"Redis", c.redis.Process}, {"Kafka", c.kafka.Process}, {"MariaDB", c.mysql.Process},
		{"writer 1", c.writers[0].Process}, {"writer 2", c.writers[1].Process},
		{"node 1", c.nodes[0].Process}, {"node 2", c.nodes[1].Process}, {"node 3", c.nodes[2].Process},
	}
	ways := []struct {
		name     string
		do, mend func(*backends.Process)
	}{
		{"kill -9", (*backends.Process).Kill9, (*backends.Process).Start},
		{"stop", (*backends.Process).Stop, (*backends.Process).Start},
		{"pause", (*backends.Process).Pause, (*backends.Process).Continue},
	}
	var faults []fault
	for range times {
		order := chance.Perm(len(parts))[:1+chance.IntN(2)]
		name, how := "", make([]int, len(order))
		for i, k := range order {
			how[i] = chance.IntN(len(ways))
			name += fmt.Sprintf(" %s of %s;", ways[how[i]].name, parts[k].name)
		}
		apart := time.Duration(chance.IntN(1500)) * time.Millisecond
		faults = append(faults, fault{name, func() {
			for i, k := range order {
				ways[how[i]].do(parts[k].p)
				time.Sleep(apart)
			}
			if len(order) == 2 && order[0] > order[1] {
				slices.Reverse(order)
				slices.Reverse(how)
			}
			for i, k := range order {
				ways[how[i]].mend(parts[k].p)
			}
		}})
	}
	faultyRun(t, c, faults...)
}
