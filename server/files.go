package main

import (
	"fmt"
	"math"
	"syscall"
)

// reservedFiles is how many descriptors are kept back: the store, the back
// ends, the HTTP server's connections, and some to spare.
const reservedFiles = 256

// fewConns is what a node warns below: somebody has forgotten the limit.
const fewConns = 1000

// openFiles is how many files this process may have open, 0 when that is not
// known. (The Go runtime has raised the soft limit to the hard one.)
func openFiles() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur, math.MaxInt32))
}

// fitFiles returns how many connections there may be: as many as asked for, or
// (0) as the limit of open files allows. A number that cannot be had is an
// error, and one that is doubtful a warning; both name the limit.
func fitFiles(asked, limit int) (conns int, warning string, err error) {
	const raise = "raise it (ulimit -n as root, LimitNOFILE= in systemd, ulimits: in compose)"
	switch {
	case limit == 0:
		return asked, "", nil
	case asked > limit:
		return 0, "", fmt.Errorf("--max-conns %d is above the limit of open files, RLIMIT_NOFILE %d: %s, or leave --max-conns out", asked, limit, raise)
	case asked > 0 && asked+reservedFiles > limit:
		return asked, fmt.Sprintf("--max-conns leaves the store, the back ends and HTTP fewer than %d of RLIMIT_NOFILE %d open files: %s", reservedFiles, limit, raise), nil
	case asked > 0:
		return asked, "", nil
	case limit <= reservedFiles:
		return 0, "", fmt.Errorf("the limit of open files, RLIMIT_NOFILE %d, has no room for connections: %d files are kept for the store, the back ends and HTTP; %s, or give --max-conns", limit, reservedFiles, raise)
	}
	if conns = limit - reservedFiles; conns < fewConns {
		warning = fmt.Sprintf("RLIMIT_NOFILE %d leaves room for %d connections: %s", limit, conns, raise)
	}
	return conns, warning, nil
}
