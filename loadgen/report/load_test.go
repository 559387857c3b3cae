package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A report that somebody has cut or edited: where it is no JSON is said.
func TestLoadSaysWhere(t *testing.T) {
	for text, want := range map[string]string{
		"{\n  \"run\": \"a\",\n}": "line 3, column 1: ",
		"{\n":                     "line 2, column 1: unexpected end",
		"{}":                      "is not a report of loadgen --json",
	} {
		file := filepath.Join(t.TempDir(), "report.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
