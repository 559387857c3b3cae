// Command loadgen is the capacity planner's tool: it holds many client
// connections to a chat server, makes them talk on a schedule, and reports
// what the server delivered, how late, and whether it was right.
//
// Nouns: a scenario says what to do, in phases; a pacer how many things are due
// after so much time; a plan who says which of them; a fleet is all connections
// of a run, dealt to workers, one per event loop; a client is one user, over as
// many connections as it takes, and a dialect how it speaks; a room checks that
// its members saw one sequence; a spell is a time in which a connection is not
// read, a load what a member reads from the history when it was told to begin
// anew; a recorder counts and times, and is a worker's own; a report is what is
// left at the end. The commands (play, run, density, hostile, find-max) drive a
// fleet and write a report. A coordinator deals a scenario in portions to a crew
// of worker processes, of which each does the same with its own; a proof is what
// was acknowledged, and witnesses where that is looked for.
//
// Packages below: check (whether the server was right), report (what is left of
// a run), scenario (YAML files and the built-in ones), pace (schedules), chart
// (pictures), capacity (from figures to nodes), blocking (a client without an event
// loop), hostile (attacks), null (a server that is never the bottleneck), rows
// (the server's database).
//
// Reading the source: play is a whole run from above; worker, client and a
// dialect are what an event loop does; check.Part and its sequence what that
// comes to; coordinator and work the same over several processes.
//
// Goroutines: one per event loop, on which everything about its clients
// happens; one metronome that wakes the loops when something is due; and the
// scenario, which waits, asks the loops for their counts and tells of them.
// The hostile scenario has a few more for its attackers, the check of histories one
// for each of its readers, and a coordinator one for each worker and one for what is
// done beside them.
//
// # Open loop
//
// A message is sent when the plan says so, whatever became of those before
// it, and its latency is counted from the time the plan named. A server that
// stalls for a second therefore shows a second in the tail; a tool that waits
// for each answer before it asks again would show one slow request
// (coordinated omission). What the tool itself was late by is in the report
// under "tool", and the service times beside the latencies leave it out.
//
// # What is checked
//
// Every member of a room sees strictly increasing offsets and the same
// messages under them, from where its subscription began, without a gap, over
// as many connections to as many nodes as it takes (run --reconnect); and
// every acknowledged message reached every member that stayed. See package
// check.
// A publish whose connection ended before its answer may be seen or not. What
// was acknowledged can be looked for in the rooms' histories and in the
// server's database, and listed in a file. Of a room that several processes
// have members of, each checks its own, and a check.Union what none can know
// alone.
//
// Caveats: ws:// only (TLS ends at the proxy). One process holds at
// most RLIMIT_NOFILE connections; more want more processes, see play --workers.
// Where clients do not come back, one that the server closes is counted by its
// code and is not expected to have the rest.
package main
