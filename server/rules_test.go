package main

import (
	"testing"

	"github.com/hubbub-chat/hubbub/server/channels"
)

// rules are those of a configuration file.
func rules(t testing.TB, file string) *channels.Namespaces {
	t.Helper()
	n, err := channels.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
