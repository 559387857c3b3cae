// Command loadgen is the capacity planner's tool: it holds many client
// connections to a chat server, makes them talk on a schedule, and reports
// what the server delivered, how late, and whether it was right.
//
// Nouns: a scenario says what to do, in phases; a pacer how many things are due
// after so much time; a plan who says which of them; a fleet is all connections of a run, dealt to
// workers, one per event loop; a client is one connection; a room checks that
// its members saw one sequence, with a ledger of what was published to it; a
// recorder counts and times, and is a worker's own; a report is what is left
// at the end. The commands (play, run, density, slow, hostile) drive a fleet and
// write a report.
//
// Packages below: pace (schedules), scenario (YAML files and the built-in
// ones), blocking (a client that need not read), hostile (attacks), rows (the
// server's database).
//
// Goroutines: one per event loop, on which everything about its clients
// happens; one metronome that wakes the loops when something is due; and the
// scenario, which waits, asks the loops for their counts and tells of them.
// The slow scenario has one more, for its one blocking connection, and the
// hostile one a few for its attackers.
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
// every acknowledged message reached every member that stayed. See sequence.
// A publish whose connection ended before its answer may be seen or not. What
// was acknowledged can be looked for in the rooms' histories and in the
// server's database, and listed in a file.
//
// Caveats: Linux only; ws:// only (TLS ends at the proxy); the JSON codec
// only; one process, so at most RLIMIT_NOFILE connections. Where clients do
// not come back, one that the server closes is counted by its code and is not
// expected to have the rest.
package main
