package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct{ name, text, want, says string }{
		{"plain", "sesame", "sesame", ""},
		{"newline", "sesame\n", "sesame", ""},
		{"windows", "sesame\r\n", "sesame", ""},
		{"spaces are of the secret", " sesame \n", " sesame ", ""},
		{"empty", "", "", "is empty"},
		{"newline alone", "\n", "", "is empty"},
		{"large", strings.Repeat("a", maxFile+1), "", "more than 65536 bytes"},
	} {
		path := filepath.Join(dir, test.name)
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Resolve("file:" + path)
		if got != test.want || (err == nil) != (test.says == "") || err != nil && (!strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %q, %v", test.name, got, err)
		}
	}
	path := filepath.Join(dir, "plain")
	for _, form := range []string{"file:", "FILE:", "File:"} {
		if got, err := Resolve(form + path); got != "sesame" || err != nil {
			t.Errorf("%s%s is %q, %v", form, path, got, err)
		}
	}
	for _, literal := range []string{"fil", "file", "files:" + path, "a file:" + path, ""} {
		if got, err := Resolve(literal); got != literal || err != nil {
			t.Errorf("the literal %q is %q, %v", literal, got, err)
		}
	}
	if got, err := Resolve("sesame"); got != "sesame" || err != nil {
		t.Errorf("a literal is %q, %v", got, err)
	}
	for _, bad := range []string{"file:", "file:/none", "file:" + dir} {
		if got, err := Resolve(bad); err == nil {
			t.Errorf("%s is %q", bad, got)
		}
	}
}
