// Package report is what is left of a run: for people as a table and a page,
// for programs as JSON.
//
// Nouns: a Report is all of it; a Latency is a histogram and Quantiles what is
// read off it; Times are the latencies of one phase; a Snapshot is how far a
// run is, and a Second of the timeline what was between two of them. An Outcome
// is a report with its histograms beside it, which can be sent from one process
// to another and added up. The commands' own parts (FindMax, Density,
// Hostile, History) each have a file with what they have to say.
//
// Nothing in it runs or waits; what one value is made of belongs to one
// goroutine at a time. docs/loadgen-report.schema.json has the form of the
// JSON, and names in it stay.
package report
