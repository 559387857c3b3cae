package limits

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzForwarded reads any X-Forwarded-For. Who is not trusted is the client,
// whatever the header says; and nothing in front of the client's own address
// changes anything.
func FuzzForwarded(f *testing.F) {
	for _, header := range []string{
		"", "203.0.113.7", "203.0.113.7, 10.0.0.1", "10.0.0.2,10.0.0.1", " , ", "x", "[2001:db8::1]:443", "2001:db8::1%eth0",
		"203.0.113.7:80, ::ffff:10.0.0.1", strings.Repeat("10.0.0.1,", 50),
	} {
		f.Add(header)
	}
	proxies, err := ParseProxies([]string{"10.0.0.0/8"})
	if err != nil {
		f.Fatal(err)
	}
	proxy, stranger := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("198.51.100.1")
	f.Fuzz(func(t *testing.T, header string) {
		if got := proxies.Client(stranger, header); got != stranger {
			t.Fatalf("a stranger is taken for %v", got)
		}
		client := proxies.Client(proxy, header)
		if !client.IsValid() {
			t.Fatalf("nobody, of %q", header)
		}
		if !proxies.Trusted(client) {
			if got := proxies.Client(proxy, "192.0.2.99, "+header); got != client {
				t.Fatalf("%v, and with something in front %v", client, got)
			}
		}
	})
}

// FuzzOrigins: what is listed as it is sent is allowed, and an entry that
// is taken allows no origin of another host.
func FuzzOrigins(f *testing.F) {
	for _, s := range []string{"https://app.example", "https://*.example.com:8443", "null", "*", "file://", "http://[::1]:80", "wss://a", "https://a:b@c", "x://\x00", "https://%41", "app://a::"} {
		f.Add(s, "https://app.example")
	}
	f.Fuzz(func(t *testing.T, entry, header string) {
		o, err := ParseOrigins([]string{entry})
		if err != nil || o.any {
			return
		}
		if header != "null" && o.Allow(header, "") && header != "" {
			from, err := parseOrigin(header)
			if err != nil {
				t.Fatalf("%q is allowed, and no origin: %v", header, err)
			}
			if host := strings.TrimPrefix(from.host, "["); !strings.Contains(strings.ToLower(entry), "*") && !o.allowed[from] {
				t.Fatalf("%q allows %q", entry, host)
			}
		}
		for one := range o.allowed {
			port := ""
			if one.port != "" {
				port = ":" + one.port
			}
			if same := one.scheme + "://" + one.host + port; !o.Allow(same, "") {
				t.Fatalf("%q does not allow %q", entry, same)
			}
		}
	})
}
