package report

import "errors"

// Outputs are where a report goes beside the table on stdout.
type Outputs struct {
	JSON       File   `help:"Write the report to this file too, as JSON (docs/loadgen-report.schema.json)." placeholder:"FILE" name:"json" json:"-"`
	HTML       File   `help:"Write the report to this file too, as one page with charts." placeholder:"FILE" name:"html" json:"-"`
	CSV        File   `help:"Write the timeline to this file, a line a second." placeholder:"FILE" name:"csv" json:"-"`
	Hgrm       Dir    `help:"Write every latency into this directory, in the form of HdrHistogram's plotter." placeholder:"DIR" json:"-"`
	Prometheus string `help:"Serve the counts of the run there, at /metrics." placeholder:"HOST:PORT" json:"-"`
	Strict     bool   `help:"Exit code 3 when this tool was the bottleneck, and its figures are not to be trusted." json:"-"`
}

// Save writes everything that was asked for.
func (o *Outputs) Save(r *Report, all []Series) (err error) {
	if o.JSON != "" {
		err = errors.Join(err, r.Save(o.JSON))
	}
	if o.HTML != "" {
		err = errors.Join(err, r.saveHTML(o.HTML))
	}
	if o.CSV != "" {
		err = errors.Join(err, o.CSV.Write(r.writeCSV))
	}
	if o.Hgrm != "" {
		err = errors.Join(err, saveHgrm(string(o.Hgrm), all))
	}
	return err
}
