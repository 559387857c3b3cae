package web

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func get(t *testing.T, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func TestPaths(t *testing.T) {
	tests := []struct {
		method, path string
		status       int
		contentType  string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"HEAD", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/?from=mail", 200, "text/html; charset=utf-8"},
		{"GET", "/assets/app.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/assets/app.css", 200, "text/css; charset=utf-8"},
		{"GET", "/assets/mark.svg", 200, "image/svg+xml"},
		{"GET", "/assets/vendor/centrifuge.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/assets/vendor/LICENSE", 200, "text/plain; charset=utf-8"},
		{"POST", "/", 405, ""},
		{"DELETE", "/assets/app.js", 405, ""},
		{"GET", "/index.html", 404, ""},
		{"GET", "/assets/", 404, ""},
		{"GET", "/assets", 404, ""},
		{"GET", "/assets/../web.go", 404, ""},
		{"GET", "/assets//app.js", 404, ""},
		{"GET", "/web.go", 404, ""},
		{"POST", "/nothing", 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			res := get(t, tt.method, tt.path)
			if res.StatusCode != tt.status {
				t.Fatalf("status %d, want %d", res.StatusCode, tt.status)
			}
			if tt.contentType != "" && res.Header.Get("Content-Type") != tt.contentType {
				t.Errorf("Content-Type %q, want %q", res.Header.Get("Content-Type"), tt.contentType)
			}
			body, _ := io.ReadAll(res.Body)
			if tt.method == "HEAD" && len(body) > 0 {
				t.Errorf("HEAD has a body of %d bytes", len(body))
			}
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff",
				"Referrer-Policy":        "no-referrer",
			} {
				if got := res.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if !strings.HasPrefix(res.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self';") {
				t.Errorf("Content-Security-Policy: %q", res.Header.Get("Content-Security-Policy"))
			}
		})
	}
}

func TestPolicyNamesItsHost(t *testing.T) {
	tests := []struct{ host, want string }{
		{"chat.example.org", "connect-src 'self' ws://chat.example.org wss://chat.example.org;"},
		{"127.0.0.1:8000", "connect-src 'self' ws://127.0.0.1:8000 wss://127.0.0.1:8000;"},
		{"[::1]:8000", "connect-src 'self' ws://[::1]:8000 wss://[::1]:8000;"},
		{"", "connect-src 'self';"},
		{"a; script-src *", "connect-src 'self';"},
		{"a;script-src", "connect-src 'self';"},
		{"*", "connect-src 'self';"},
		{"a,b", "connect-src 'self';"},
	}
	for _, tt := range tests {
		t.Run(tt.host, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Host = tt.host
			w := httptest.NewRecorder()
			Handler().ServeHTTP(w, r)
			if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, tt.want) {
				t.Errorf("policy %q has no %q", got, tt.want)
			}
		})
	}
}

func TestEncodings(t *testing.T) {
	const target = "/assets/vendor/centrifuge.js"
	want, err := files.ReadFile("assets/vendor/centrifuge.js")
	if err != nil {
		t.Fatal(err)
	}
	plain, zipped := get(t, "GET", target), get(t, "GET", target, "Accept-Encoding", "br, gzip;q=0.8")
	if body, _ := io.ReadAll(plain.Body); string(body) != string(want) {
		t.Error("the plain body is not the file")
	}
	if got := zipped.Header.Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("Content-Encoding %q", got)
	}
	zr, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(zr); string(body) != string(want) {
		t.Error("the unzipped body is not the file")
	}
	if a, b := plain.Header.Get("ETag"), zipped.Header.Get("ETag"); a == b || a == "" || b == "" {
		t.Errorf("ETags %q and %q should differ", a, b)
	}
	if got := get(t, "GET", target, "Accept-Encoding", "gzip;q=0").Header.Get("Content-Encoding"); got != "" {
		t.Errorf("gzip was refused and came all the same: %q", got)
	}
	for _, tag := range []string{plain.Header.Get("ETag"), `W/` + plain.Header.Get("ETag")} {
		if again := get(t, "GET", target, "If-None-Match", tag); again.StatusCode != http.StatusNotModified {
			t.Errorf("If-None-Match %s: %d, want 304", tag, again.StatusCode)
		}
	}
}

// The vendored SDK is the proof of compatibility only while nobody has touched it.
func TestVendoredSDKIsUnmodified(t *testing.T) {
	notes, err := os.ReadFile("assets/vendor/VENDORED.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"centrifuge.js", "LICENSE", "LICENSE-events"} {
		data, err := files.ReadFile("assets/vendor/" + name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		line := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(name) + ` \|.*$`).FindString(string(notes))
		if !strings.Contains(line, hex.EncodeToString(sum[:])) {
			t.Errorf("VENDORED.md does not have the sum of %s: %x", name, sum)
		}
	}
}

// What STYLE.md and the content policy ask of the page, checked in its sources.
func TestSources(t *testing.T) {
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function`)
	imports := regexp.MustCompile(`(?m)^import .* from '(.*)';$`)
	inline := regexp.MustCompile(`(?i)\sstyle=|\son[a-z]+=|<style|<script>`)
	references := regexp.MustCompile(`(?:src|href)="([^"]*)"`)
	served, err := load(files)
	if err != nil {
		t.Fatal(err)
	}
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(name, "vendor") {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		text := string(data)
		switch path.Ext(name) {
		case ".js":
			if found := forbidden.FindString(text); found != "" {
				t.Errorf("%s: %s", name, found)
			}
			if n := strings.Count(text, "\n"); n > 300 {
				t.Errorf("%s has %d lines", name, n)
			}
			for _, m := range imports.FindAllStringSubmatch(text, -1) {
				if _, ok := served["/"+path.Join("assets", m[1])]; !ok {
					t.Errorf("%s imports %s, which is not served", name, m[1])
				}
			}
		case ".html":
			if found := inline.FindString(text); found != "" {
				t.Errorf("%s: the policy would refuse %q", name, found)
			}
			for _, m := range references.FindAllStringSubmatch(text, -1) {
				if _, ok := served["/"+m[1]]; !ok { // relative: the page may stand under a path of a proxy's
					t.Errorf("%s refers to %s, which is not served", name, m[1])
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnknownFileTypeIsRefused(t *testing.T) {
	if _, err := load(fstest.MapFS{"page.wasm": {}}); err == nil {
		t.Error("a file without a content type was taken")
	}
}
