package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/hubbub-chat/hubbub"

// DESIGN.md section 1: which parts of the house may know which. A package is
// named by its directory; what is under it counts as it.
var mayImport = map[string][]string{
	"schema":  {},
	"netpoll": {"internal/httplist"},
	"fanout":  {"schema", "internal/contact", "internal/backoff"},
	"sink":    {"schema", "internal/contact", "internal/backoff"},
	"loadgen": {"schema", "netpoll", "internal/process", "internal/strictjson"},
	"server":  {"schema", "netpoll", "fanout", "sink", "internal/contact", "internal/httplist", "internal/process", "internal/secret", "internal/strictjson", "internal/suggest"},

	"internal/backoff":  {},
	"internal/contact":  {},
	"internal/httplist": {},
	"internal/process":  {},

	"internal/secret":     {},
	"internal/strictjson": {"internal/suggest"},
	"internal/suggest":    {},
}

// Libraries stay inside the package that wraps them. A name ending in .go
// allows one file. Tests may use what they like.
var libraries = map[string][]string{
	"github.com/lesismal/nbio":            {"netpoll"},
	"github.com/gobwas/ws":                {"netpoll"},
	"github.com/redis/rueidis":            {"fanout/redis"},
	"github.com/twmb/franz-go":            {"sink"},
	"github.com/go-sql-driver/mysql":      {"sink", "loadgen/rows"},
	"modernc.org/sqlite":                  {"sink"},
	"database/sql":                        {"sink", "loadgen/rows"},
	"github.com/pressly/goose":            {"sink"},
	"github.com/centrifugal/protocol":     {"schema", "server/sessions", "server/api", "loadgen"},
	"github.com/golang-jwt/jwt":           {"server"},
	"github.com/prometheus/client_golang": {"server/metrics"},
	"github.com/alecthomas/kong":          {"server", "loadgen"},
	"go.uber.org/zap":                     {"server", "fanout/redis", "sink", "internal/contact"},
	"github.com/HdrHistogram":             {"loadgen"},
	"go.yaml.in/yaml":                     {"loadgen/scenario"},
}

func TestImports(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for dir := range mayImport {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files++
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			for _, spec := range f.Imports {
				imported, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					return err
				}
				checkImport(t, dir, filepath.ToSlash(name), imported)
			}
			return nil
		})
		if err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
	}
	if files < 50 {
		t.Errorf("only %d files were found", files)
	}
}

func checkImport(t *testing.T, dir, file, imported string) {
	if sibling, ok := strings.CutPrefix(imported, module+"/"); ok {
		if top, _, _ := strings.Cut(sibling, "/"); top != "internal" {
			sibling = top
		}
		if sibling != dir && !slices.Contains(mayImport[dir], sibling) {
			t.Errorf("%s imports %s: %s may know %v alone", file, imported, dir, mayImport[dir])
		}
	}
	for library, where := range libraries {
		if imported != library && !strings.HasPrefix(imported, library+"/") {
			continue
		}
		if !slices.ContainsFunc(where, func(w string) bool { return file == w || strings.HasPrefix(file, w+"/") }) {
			t.Errorf("%s imports %s, which belongs to %v alone", file, imported, where)
		}
	}
}
