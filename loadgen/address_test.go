package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// named is a command line's result where every name has the given addresses.
func named(t *testing.T, addrs []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out bytes.Buffer
	var errs said
	code = execute(environment{ctx: t.Context(), stdout: &out, stderr: &errs, lookup: func(context.Context, string, string) (all []netip.Addr, err error) {
		for _, a := range addrs {
			all = append(all, netip.MustParseAddr(a))
		}
		return all, nil
	}}, args)
	return code, out.String(), errs.String()
}

// TestNameWithADeadAddress: connections go to the addresses that answer, and one line
// says which these are.
func TestNameWithADeadAddress(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{}, false)
	_, port, _ := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(url, "/connection/websocket"), "ws://"), ":")
	name := "ws://chat.example:" + port + "/connection/websocket"
	for _, c := range []struct {
		name  string
		addrs []string
		want  string
		more  []string
	}{
		{"::1 first", []string{"::1", "127.0.0.1"}, "connections go to 127.0.0.1:" + port + ", not to [::1]:" + port + " (connection refused)", nil},
		{"the first is dead", []string{"127.0.0.2", "127.0.0.1"}, "connections go to 127.0.0.1:" + port + ", not to 127.0.0.2:" + port + " (connection refused)", nil},
		{"the last is", []string{"127.0.0.1", "127.0.0.2"}, "connections go to 127.0.0.1:" + port + ", not to 127.0.0.2:" + port + " (connection refused)", nil},
		{"twice the same", []string{"127.0.0.1", "::ffff:127.0.0.1"}, "", nil},
		{"with histories", []string{"127.0.0.2", "127.0.0.1"}, "not to 127.0.0.2", []string{"--history"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := named(t, c.addrs, append(shortRun(name), c.more...)...)
			line, _, _ := strings.Cut(stderr, "\n")
			if code != exitOK || c.want != "" && !strings.Contains(line, c.want) || !strings.Contains(stdout, c.want) || strings.Contains(stdout, "attempts failed") {
				t.Fatalf("exit code %d, want %q\n%s%s", code, c.want, stdout, stderr)
			}
		})
	}
}

// TestNameOfSeveral: a name of several servers is all of them, in turn.
func TestNameOfSeveral(t *testing.T) {
	first := backends.Port(t)
	var lns []net.Listener
	for i := range 3 {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:%d", i+1, first))
		if err != nil {
			t.Skip(err)
		}
		defer ln.Close() //nolint:errcheck // nothing was said
		lns = append(lns, ln)
	}
	target := target{URLs: []string{fmt.Sprintf("ws://chat.example:%d/", first), "ws://127.0.0.9:1/"}, Protocol: "json"}
	env := environment{ctx: t.Context(), lookup: func(_ context.Context, _, host string) (all []netip.Addr, err error) {
		if host != "chat.example" {
			return []netip.Addr{netip.MustParseAddr(host)}, nil
		}
		for i := range lns {
			all = append(all, netip.AddrFrom4([4]byte{127, 0, 0, byte(i + 1)}))
		}
		return append(all, netip.MustParseAddr("127.0.0.8")), nil
	}}
	all, notes, err := target.endpoints(env)
	if err != nil || len(all) != 5 || len(notes) != 1 {
		t.Fatalf("%+v, %q, %v", all, notes, err)
	}
	f := &fleet{routes: routesOf(all, "")}
	went := map[string]int{}
	for i := range 600 {
		went[f.dial(i, 0).Addr.Addr().String()]++
	}
	if went["127.0.0.9"] != 300 || went["127.0.0.1"] != 100 || went["127.0.0.2"] != 100 || went["127.0.0.3"] != 100 {
		t.Errorf("connections went to %v", went)
	}
	// Whoever finds nobody tries all the others, and those that did not answer last.
	var tries []string
	for n := range f.addresses(0) {
		tries = append(tries, f.dial(0, n).Addr.Addr().String())
	}
	if !slices.Equal(tries, []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.8"}) {
		t.Errorf("tried %v", tries)
	}
	if host := f.dial(0, 0).Host; host != fmt.Sprintf("chat.example:%d", first) {
		t.Errorf("asks for %s", host)
	}
}

// TestAddressDies: one that answered before the run, and does not any more, is passed by.
func TestAddressDies(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{}, false)
	live := netip.MustParseAddrPort(strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/connection/websocket"))
	target := target{URLs: []string{url}, Protocol: "json", ConnectRate: 1000, Loops: 1}
	cfg, err := target.config(environment{ctx: t.Context()}, inTurn(6, 1), shortPayload)
	if err != nil {
		t.Fatal(err)
	}
	dead := cfg.endpoints[0]
	dead.addr = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), live.Port())
	cfg.endpoints = []endpoint{dead, cfg.endpoints[0]}
	f, err := newFleet(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	f.open(0, 6, 1000)
	got, _ := f.watch(t.Context(), waitLong, nil, joinedAll(6))
	if got.Joined != 6 || got.Failed != 0 || got.Retried != 3 {
		t.Errorf("%+v", got.Counts)
	}
}
