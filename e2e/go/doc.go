// Package e2e proves from outside that the unmodified Go SDK works with the
// Hubbub binary. It is a module of its own, so that what the SDK requires does
// not become a requirement of the server. There is nothing here but tests.
//
// HUBBUB_BIN names the binary; without it the tests build one.
package e2e
