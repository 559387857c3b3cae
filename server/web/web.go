// Package web is the chat page: one HTML document, its style sheet and a few
// ES modules, embedded in the binary and served with the headers a page that
// shows strangers' text should have. There is no build step; the files under
// assets/ are what the browser runs. Beside them stands the unmodified browser
// build of the public Centrifuge SDK (assets/vendor/VENDORED.md), so the page
// is itself a proof that the SDK speaks to this server unchanged.
//
// Its nouns: asset (one embedded file, read, hashed and compressed once) and
// site (all of them by URL path). Nothing here runs on a goroutine of its own.
//
// Caveat: browsers revalidate each file on every load (no-cache with an ETag)
// instead of keeping it for a year under a hashed name. An upgrade of the
// server is then seen at the next reload, at the price of a few empty 304s.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/hubbub-chat/hubbub/internal/httplist"
)

//go:embed index.html assets/*.js assets/*.css assets/*.svg assets/vendor/centrifuge.js assets/vendor/LICENSE*
var files embed.FS

// contentTypes is closed on purpose: the system's MIME table differs from
// machine to machine, and with nosniff a wrong type is a page that stays blank.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	"":      "text/plain; charset=utf-8", // the licences
}

// policy lets the page load its own files and talk to its own host, and
// nothing else. CSP3 browsers count ws: to the same host as 'self'; older ones
// (Safari before 15.4) do not, so the host is named too, see connectSources.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'%s; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// plainHost is what may be copied from the Host header into the policy. That
// header is the client's to write, and a ';' in it would end the directive.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]{1,5})?$|^\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?$`)

// Handler returns the page at / and its files under /assets/. Every other path
// is 404, every method but GET and HEAD 405. It is safe for concurrent use.
func Handler() http.Handler {
	s, err := load(files)
	if err != nil {
		panic("web: " + err.Error()) // a file type without a content type: a build that no test has seen
	}
	return s
}

// asset is one file as it is sent. Immutable.
type asset struct {
	contentType string
	plain       body
	gzipped     body // empty where compression does not pay
}

// body is one encoding of a file. The ETag is strong, so each has its own.
type body struct {
	data []byte
	etag string
}

// site maps a URL path to its file. Immutable after load.
type site map[string]asset

func load(fsys fs.FS) (site, error) {
	s := site{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		a, err := newAsset(name, data)
		if err != nil {
			return err
		}
		if name == "index.html" {
			s["/"] = a
			return nil
		}
		s["/"+name] = a
		return nil
	})
	return s, err
}

func newAsset(name string, data []byte) (asset, error) {
	contentType, ok := contentTypes[path.Ext(name)]
	if !ok {
		return asset{}, fmt.Errorf("%s: no content type for %q", name, path.Ext(name))
	}
	sum := sha256.Sum256(data)
	tag := hex.EncodeToString(sum[:16])
	a := asset{contentType: contentType, plain: body{data, `"` + tag + `"`}}

	var buf bytes.Buffer
	zw, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return asset{}, err
	}
	if _, err := zw.Write(data); err != nil {
		return asset{}, err
	}
	if err := zw.Close(); err != nil {
		return asset{}, err
	}
	if buf.Len() < len(data)*9/10 {
		a.gzipped = body{buf.Bytes(), `"` + tag + `-gz"`}
	}
	return a, nil
}

func (s site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", fmt.Sprintf(policy, connectSources(r.Host)))

	a, ok := s[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	b := a.plain
	if a.gzipped.data != nil {
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header["Accept-Encoding"]) {
			b = a.gzipped
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", b.etag)
	// ServeContent answers If-None-Match and HEAD; the zero time keeps it from
	// inventing a Last-Modified that would change with every build.
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b.data))
}

// connectSources names the page's own host for WebSockets in the policy, or
// nothing where the Host header is not plainly a host.
func connectSources(host string) string {
	if !plainHost.MatchString(host) {
		return ""
	}
	return " ws://" + host + " wss://" + host
}

// acceptsGzip reads what browsers send. A client that weighs its encodings by
// q-values gets gzip unless it refuses it outright.
func acceptsGzip(accept []string) bool {
	for part := range httplist.Members(accept) {
		coding, params, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			q := strings.ReplaceAll(params, " ", "")
			return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
		}
	}
	return false
}
