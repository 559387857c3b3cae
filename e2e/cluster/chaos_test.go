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
	parts := []backends.Part{{Name: "Redis", Process: c.redis.Process}, {Name: "Kafka", Process: c.kafka.Process}}
	parts = append(parts, c.db.Parts...)
	for i, w := range c.writers {
		parts = append(parts, backends.Part{Name: fmt.Sprint("writer ", i+1), Process: w.Process})
	}
	for i, n := range c.nodes {
		parts = append(parts, backends.Part{Name: fmt.Sprint("node ", i+1), Process: n.Process})
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
			name += fmt.Sprintf(" %s of %s;", ways[how[i]].name, parts[k].Name)
		}
		apart := time.Duration(chance.IntN(1500)) * time.Millisecond
		faults = append(faults, fault{name, func() {
			for i, k := range order {
				ways[how[i]].do(parts[k].Process)
				time.Sleep(apart)
			}
			if len(order) == 2 && order[0] > order[1] {
				slices.Reverse(order)
				slices.Reverse(how)
			}
			for i, k := range order {
				ways[how[i]].mend(parts[k].Process)
			}
		}})
	}
	faultyRun(t, c, faults...)
}
