package report

import "fmt"

// Beyond these the run measured this tool, or the machine they share, and not
// the server.
const (
	MaxToolCPU  = 0.9    // of the event loops' cores, over the measured time
	maxLagShare = 0.5    // p99 of the loops' lag, of the p99 of deliveries
	minLag      = 2000.0 // µs; a lag below is never held against a run
	maxLate     = 0.01   // of the sent, those that left late
)

// selfCheck says why a run's figures are not to be trusted: the tool was the
// bottleneck. Whether the server was right is not touched by it.
func (r *Report) selfCheck() {
	bad := func(format string, args ...any) { r.Invalid = append(r.Invalid, fmt.Sprintf(format, args...)) }
	var cpu, n float64
	for i := range r.Timeline {
		if s := &r.Timeline[i]; s.Delivered > 0 {
			cpu, n = cpu+s.ToolCPU/100, n+1
		}
	}
	if n > 0 && cpu/n > MaxToolCPU*float64(r.Tool.Loops) {
		bad("this tool used %.0f%% of a core for %d event loops", cpu/n*100, r.Tool.Loops)
	}
	if k := r.Check; k != nil && k.Unquiet > 0 {
		bad("%d connections did not become quiet: what counts as lost or unanswered may have been under way", k.Unquiet)
	}
	m := r.Messages
	if m == nil || m.Delivery.Count == 0 {
		return
	}
	if lag := r.Tool.Lag.P99; lag > minLag && lag > maxLagShare*m.Delivery.P99 {
		bad("its event loops lagged by %s (p99), which is much of the %s of deliveries", Short(lag), Short(m.Delivery.P99))
	}
	if k := r.Check; k != nil && k.Sent > 0 && float64(k.Late)/float64(k.Sent) > maxLate {
		bad("%.1f%% of the messages left more than 10 ms late", float64(k.Late)/float64(k.Sent)*100)
	}
}
