// Package secret reads secrets that settings name a file for: one helper, so
// that all of them read it alike. It has no goroutines and prints no secret.
package secret

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFile is the largest file that is taken for a secret, in bytes.
const maxFile = 64 << 10

// Read returns what stands in a file, without the newline at its end. A file
// that is missing, empty or larger than 64 KiB is an error that names it.
func Read(path string) (string, error) {
	if path == "" {
		return "", errors.New("the name of a file is missing")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return "", err
	case len(b) > maxFile:
		return "", fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if text == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return text, nil
}

// Resolve returns a setting's value: what stands in the file where it is
// file:PATH, else itself.
func Resolve(value string) (string, error) {
	if path, ok := Path(value); ok {
		return Read(path)
	}
	return value, nil
}

// Path returns the path of a setting that is file:PATH, with file in any case.
func Path(value string) (path string, ok bool) {
	const form = "file:"
	if len(value) < len(form) || !strings.EqualFold(value[:len(form)], form) {
		return "", false
	}
	return value[len(form):], true
}
