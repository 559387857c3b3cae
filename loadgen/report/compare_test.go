package report

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestInterval: nineteen of twenty intervals have the mean in them, or nearly.
func TestInterval(t *testing.T) {
	const seed, rounds = 11, 2000
	chance := rand.New(rand.NewPCG(seed, 0))
	hit := 0
	for range rounds {
		values := make([]float64, 60)
		for i := range values {
			values[i] = 5 + chance.NormFloat64()
		}
		if iv := newInterval(values); math.Abs(iv.mean-5) <= iv.off {
			hit++
		}
	}
	if hit < rounds*93/100 || hit > rounds*97/100 {
		t.Errorf("%d of %d intervals have the mean in them", hit, rounds)
	}
	if iv := newInterval([]float64{1, 2}); !math.IsInf(iv.off, 1) {
		t.Errorf("two values give %+v", iv)
	}
}
