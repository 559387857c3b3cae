package main

import (
	"path/filepath"
	"strings"

	"github.com/hubbub-chat/hubbub/loadgen/report"
)

// compareCmd is `compare`: reports side by side.
type compareCmd struct {
	Reports []string `arg:"" help:"Reports as --json writes them; the first is what the others are compared with."`
	MaxP99  float64  `name:"max-p99" help:"Exit code 1 when a report's delivery p99 is certainly above so many times the first's, or cannot be told from what was measured; 0: never (default ${default})." default:"0"`
}

// Run is kong's entry.
func (c *compareCmd) Run(env environment) error {
	if len(c.Reports) < 2 {
		return usageError("compare wants two reports at least")
	}
	names, reports := make([]string, len(c.Reports)), make([]*report.Report, len(c.Reports))
	for i, file := range c.Reports {
		var err error
		if reports[i], err = report.Load(file); err != nil {
			return usageError(err.Error())
		}
		names[i] = strings.TrimSuffix(filepath.Base(file), ".json")
	}
	worse, err := report.Compare(env.stdout, names, reports, c.MaxP99)
	if err == nil && len(worse) > 0 {
		err = errFaults
	}
	return err
}
