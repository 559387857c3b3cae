package limits

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	r := PerSecond(10, time.Second) // 10 at once, then one each 100 ms
	var b Bucket
	now := time.Hour
	for i := range 10 {
		if !b.Take(r, now, 1) {
			t.Fatalf("unit %d of the burst was refused", i)
		}
	}
	if b.Take(r, now, 1) {
		t.Error("the eleventh unit was allowed")
	}
	if b.Take(r, now+99*time.Millisecond, 1) {
		t.Error("a unit was allowed too early")
	}
	if !b.Take(r, now+100*time.Millisecond, 1) {
		t.Error("a refused unit was charged")
	}
	if b.Take(r, now+time.Hour, 11) {
		t.Error("more than the burst was allowed at once")
	}
	if !b.Take(Rate{}, 0, 1<<30) {
		t.Error("no limit refused")
	}
}

// Whatever is asked when, the units allowed in any window are at most the
// burst and the window's share.
func TestBucketNeverAllowsMore(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	r := PerSecond(1000, 50*time.Millisecond)
	var b Bucket
	var now time.Duration
	allowed := 0
	for range 100_000 {
		now += time.Duration(rng.IntN(400_000))
		if n := rng.IntN(4); b.Take(r, now, n) {
			allowed += n
		}
		if limit := int(now/r.Interval) + r.Burst + 1; allowed > limit {
			t.Fatalf("seed %d: %d units allowed in %v, at most %d may be", seed, allowed, now, limit)
		}
	}
	if allowed < int(now/r.Interval)*9/10 {
		t.Errorf("seed %d: only %d units allowed in %v", seed, allowed, now)
	}
}

func TestAddresses(t *testing.T) {
	a := NewAddresses(2)
	enter := func(s string) (uint32, bool) { return a.Enter(netip.MustParseAddr(s)) }
	p1, ok1 := enter("10.0.0.1")
	_, ok2 := enter("::ffff:10.0.0.1")
	if _, ok3 := enter("10.0.0.1"); !ok1 || !ok2 || ok3 {
		t.Errorf("three connections of one address: %v %v %v", ok1, ok2, ok3)
	}
	if _, ok := enter("10.0.0.2"); !ok {
		t.Error("another address was refused")
	}
	a.Leave(p1)
	if _, ok := enter("10.0.0.1"); !ok {
		t.Error("a place that was left is not free")
	}
	_, _ = enter("2001:db8::1")
	_, _ = enter("2001:db8::2")
	if _, ok := enter("2001:db8:0:0:ffff::3"); ok {
		t.Error("a third connection from one /64 was allowed")
	}
	if _, ok := enter("2001:db8:0:1::1"); !ok {
		t.Error("another /64 was refused")
	}
	b := NewAddresses(3)
	var places []uint32
	for i := range 100 {
		p, ok := b.Enter(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
		if !ok || p == 0 {
			t.Fatal("refused")
		}
		places = append(places, p)
	}
	for _, p := range places {
		b.Leave(p)
	}
	if b.Networks() != 0 || len(b.nets) != 101 || len(b.free) != 100 {
		t.Errorf("after all have left: %d networks, %d places, %d free", b.Networks(), len(b.nets), len(b.free))
	}
	if _, ok := NewAddresses(0).Enter(netip.Addr{}); !ok {
		t.Error("no limit refused")
	}
}

func TestOrigins(t *testing.T) {
	for _, c := range []struct {
		name         string
		allowed      []string
		origin, host string
		ok           bool
	}{
		{"no browser", nil, "", "chat.example", true},
		{"own page", nil, "https://chat.example", "chat.example", true},
		{"own page with port", nil, "http://localhost:8000", "localhost:8000", true},
		{"default port", nil, "https://chat.example:443", "chat.example", true},
		{"other page", nil, "https://evil.example", "chat.example", false},
		{"other port", nil, "http://localhost:9000", "localhost:8000", false},
		{"suffix", nil, "https://chat.example.evil.example", "chat.example", false},
		{"null", nil, "null", "chat.example", false},
		{"listed", []string{"https://app.example"}, "https://app.example", "chat.example", true},
		{"listed, other case", []string{"https://App.Example"}, "https://app.example", "chat.example", true},
		{"listed, other scheme", []string{"https://app.example"}, "http://app.example", "chat.example", false},
		{"a list replaces the own page", []string{"https://app.example"}, "https://chat.example", "chat.example", false},
		{"user info", []string{"https://app.example"}, "https://app.example@evil.example", "chat.example", false},
		{"listed, other ways to write it", []string{" HTTPS://App.Example:443/ "}, "https://app.example", "chat.example", true},
		{"listed port", []string{"http://localhost:3000"}, "http://localhost:3000", "chat.example", true},
		{"listed, another port", []string{"http://localhost:3000"}, "http://localhost:3001", "chat.example", false},
		{"listed IPv6", []string{"http://[0:0:0:0:0:0:0:1]:8000"}, "http://[::1]:8000", "chat.example", true},
		{"a subdomain", []string{"https://*.example.com"}, "https://a.example.com", "chat.example", true},
		{"a subdomain, in upper case", []string{"https://*.Example.Com:8443"}, "https://A.example.com:8443", "chat.example", true},
		{"a subdomain of a subdomain", []string{"https://*.example.com"}, "https://a.b.example.com", "chat.example", true},
		{"the domain of a wildcard", []string{"https://*.example.com"}, "https://example.com", "chat.example", false},
		{"an empty subdomain", []string{"https://*.example.com"}, "https://.example.com", "chat.example", false},
		{"another domain with that end", []string{"https://*.example.com"}, "https://evilexample.com", "chat.example", false},
		{"a domain with that beginning", []string{"https://*.example.com"}, "https://a.example.com.evil.example", "chat.example", false},
		{"a subdomain, other scheme", []string{"https://*.example.com"}, "http://a.example.com", "chat.example", false},
		{"a subdomain, other port", []string{"https://*.example.com"}, "https://a.example.com:444", "chat.example", false},
		{"null, listed", []string{"null"}, "null", "chat.example", true},
		{"null, another listed", []string{"https://app.example"}, "null", "chat.example", false},
		{"null alone replaces the own page", []string{"null"}, "https://chat.example", "chat.example", false},
		{"a file, listed", []string{"file://"}, "file://", "chat.example", true},
		{"a file", nil, "file://", "", false},
		{"an application", []string{"capacitor://localhost"}, "capacitor://localhost", "chat.example", true},
		{"an extension", []string{"chrome-extension://abcdefgh"}, "chrome-extension://abcdefgh", "chat.example", true},
		{"punycode", []string{"https://xn--mnchen-3ya.example"}, "https://xn--mnchen-3ya.example", "chat.example", true},
		{"own page, IPv6", nil, "http://[::1]:8000", "[::1]:8000", true},
		{"own page, upper case", nil, "https://chat.example", "Chat.Example:443", true},
		{"any", []string{"*"}, "https://evil.example", "chat.example", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := ParseOrigins(c.allowed)
			if err != nil {
				t.Fatal(err)
			}
			if ok := o.Allow(c.origin, c.host); ok != c.ok {
				t.Errorf("Allow(%q, %q) = %v", c.origin, c.host, ok)
			}
		})
	}
	// What no page can have is refused, with what to write instead.
	for bad, says := range map[string]string{
		"": "scheme://host", "app.example": "write https://app.example", "*.example.com": "write https://*.example.com",
		"https://": "no host", "https://a/b": "write https://a", "https://a?x": "write https://a", "https://a@b": "has a user",
		"http://*": "write * for every page", "https://*:8000": "write * for every page", "*://a.example": "list https://a.example and http://a.example",
		"wss://chat.example": "write https://chat.example", "ws://localhost:8000": "write http://localhost:8000",
		"https://münchen.example": `new URL("https://münchen.example").origin`,
		"https://a.*.com":         "https://*.example.com", "https://a*.example.com": "https://*.example.com", "http://localhost:*": "list ports",
		"https://a:0": "between 1 and 65535", "https://a:99999": "between 1 and 65535", "https://a:x": "not a number",
		"https://*.": "no host", "https://*.[::1]": "without a name", "http://[::x]": "scheme://host", "http://[::1%25eth0]": "IPv6", "https:app.example": "scheme://host",
		"app://a::": "no host has", "app://a:b:80": "no host has",
	} {
		if _, err := ParseOrigins([]string{bad}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", bad, err, says)
		}
	}
}

func TestProxies(t *testing.T) {
	p, err := ParseProxies([]string{"10.0.0.0/8", "::1", "192.0.2.7"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, peer, forwarded, want string }{
		{"direct", "203.0.113.5", "", "203.0.113.5"},
		{"a stranger's word", "203.0.113.5", "198.51.100.1", "203.0.113.5"},
		{"one proxy", "10.1.2.3", "198.51.100.1", "198.51.100.1"},
		{"two proxies", "10.1.2.3", "198.51.100.1, 192.0.2.7", "198.51.100.1"},
		{"a client's invention", "10.1.2.3", "1.2.3.4, 198.51.100.1", "198.51.100.1"},
		{"with port", "10.1.2.3", "198.51.100.1:4711", "198.51.100.1"},
		{"IPv6 with port", "::1", "[2001:db8::1]:4711", "2001:db8::1"},
		{"mapped peer", "::ffff:10.1.2.3", "198.51.100.1", "198.51.100.1"},
		{"garbage", "10.1.2.3", "unknown", "10.1.2.3"},
		{"no header", "10.1.2.3", "", "10.1.2.3"},
		{"a second line that is empty", "10.1.2.3", "198.51.100.1,", "198.51.100.1"},
		{"empty members", "10.1.2.3", "1.2.3.4, ,198.51.100.1,, 192.0.2.7 , ", "198.51.100.1"},
		{"empty members alone", "10.1.2.3", " ,, ", "10.1.2.3"},
		{"quotes of the client's", "10.1.2.3", `"x, 198.51.100.1`, "198.51.100.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := p.Client(netip.MustParseAddr(c.peer), c.forwarded); got.String() != c.want {
				t.Errorf("client is %v, want %s", got, c.want)
			}
		})
	}
	if _, err := ParseProxies([]string{"nginx"}); err == nil {
		t.Error("ParseProxies accepts a host name")
	}
}

func BenchmarkBucket(b *testing.B) {
	r := PerSecond(1_000_000, time.Second)
	var bucket Bucket
	var now time.Duration
	for b.Loop() {
		now += time.Microsecond
		bucket.Take(r, now, 1)
	}
}
