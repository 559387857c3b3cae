package main

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
)

func TestDensity(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{}, false)
	code, r, stdout, stderr := loadgen(t, t.Context(), "density", "--url", url, "--server-pid", strconv.Itoa(os.Getpid()),
		"--steps", "10,20,30", "--settle", "10ms", "--members", "7", "--loops", "2")
	if code != exitOK || len(r.Density.Steps) != 4 || r.Connections.Joined != 30 || r.Density.Steps[3].RSSAnon == 0 || r.Density.Steps[3].Slab == 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// isLocalOnMacOS knows one address of 127/8.
func isLocalOnMacOS(a netip.Addr) bool { return a == netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

func TestProcessUsage(t *testing.T) {
	for began := time.Now(); time.Since(began) < 60*time.Millisecond; { // use some CPU
	}
	u, err := processUsage(os.Getpid())
	if !usageKnown() {
		t.Skip("this system does not tell what processes use")
	}
	if err != nil || u.CPU <= 0 || u.RSS < 1<<20 || u.RSSAnon <= 0 || u.RSSAnon > u.RSS {
		t.Fatalf("%+v, %v", u, err)
	}
	if _, err := processUsage(1 << 30); err == nil {
		t.Fatal("a process that is not there has usage")
	}
}

func TestSources(t *testing.T) {
	loopback := []endpoint{{addr: netip.MustParseAddrPort("127.0.0.1:80")}}
	mixed := append(loopback[:1:1], endpoint{addr: netip.MustParseAddrPort("10.1.2.3:80")})
	has := func(netip.Addr) bool { return true }
	if newSources(loopback, perSource, 7, has) != nil || newSources(mixed, 100_000, 7, has) != nil {
		t.Fatal("addresses are chosen where the kernel could")
	}
	if !isLocal(netip.MustParseAddr("127.0.0.1")) || isLocal(netip.MustParseAddr("192.0.2.1")) {
		t.Error("this machine's addresses are not known")
	}
	if s := newSources(loopback, 100_000, 7, isLocalOnMacOS); s != nil {
		t.Errorf("%v are not this machine's", s)
	}
	s := newSources(loopback, 2*perSource+5, 0x0203, has)
	used := map[string]int{}
	for i := range 2*perSource + 5 {
		used[s.of(i).String()]++
	}
	if len(s) != 3 || used["127.2.3.1"] != perSource || used["127.2.3.3"] != 5 {
		t.Fatalf("%v: %v", s, used)
	}
	if sources(nil).of(5).IsValid() {
		t.Fatal("no addresses give one")
	}
}

func TestFilesAreChecked(t *testing.T) {
	if err := checkFiles(10); err != nil {
		t.Fatal(err)
	}
	if err := checkFiles(1 << 40); err == nil || !strings.Contains(err.Error(), "RLIMIT_NOFILE") {
		t.Fatalf("error %v", err)
	}
}

// TestRoomPrefix: names that would be written in another way on the wire are
// refused, for they are compared as bytes.
func TestRoomPrefix(t *testing.T) {
	for prefix, ok := range map[string]bool{
		"room-": true, "chat:x": true, "$p": true, `a"`: false, `a\`: false, "a<": false, "ä": false, "a\n": false, " a": false,
		strings.Repeat("x", 255): false,
	} {
		if err := checkPrefix(prefix); (err == nil) != ok {
			t.Errorf("checkPrefix(%q) = %v", prefix, err)
		}
	}
	if got := (&protocol.SubscribeRequest{Channel: "a:b-$1"}).AppendJSON(nil); !strings.Contains(string(got), `"a:b-$1"`) {
		t.Errorf("%s does not have %s", got, "a:b-$1")
	}
}
