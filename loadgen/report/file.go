package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// File is the path of a file to be written when there is a result: an option of a
// command line. What is there already stays until then.
type File string

// Dir is the path of a directory for such files. It is made when it is not there.
type Dir string

// Validate tries whether the file could be written, and leaves nothing behind: a
// run of an hour should not end with a path that never was one. (kong calls it
// for every option that was given, before the command runs.)
func (f File) Validate() error {
	path := string(f)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return probeDir(filepath.Dir(path))
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory, not a file", path)
	}
	return writable(path)
}

// Validate makes the directory, and tries whether files could be written into it.
func (d Dir) Validate() error {
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return err
	}
	return probeDir(string(d))
}

// probeDir tries whether a file can be made in a directory.
func probeDir(dir string) error {
	f, err := os.CreateTemp(dir, ".loadgen-*")
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // its path is the temporary file's
		}
		return fmt.Errorf("no file can be made in %s: %w", dir, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// writable asks the kernel about what is there: opening a pipe would wait for its
// reader.
func writable(path string) error {
	if err := unix.Access(path, unix.W_OK); err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// Write puts into the file what write writes. A regular file is replaced as a whole
// or, when the disk is full, not at all. Devices and pipes are written to.
func (f File) Write(write func(io.Writer) error) error {
	path, mode := string(f), fs.FileMode(0o644)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // a link stays one
	}
	if info, err := os.Stat(path); err == nil {
		if mode = info.Mode().Perm(); !info.Mode().IsRegular() {
			return overwrite(path, write)
		}
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".loadgen-*")
	if err != nil {
		return overwrite(path, write) // a file in a directory that takes no others
	}
	err = errors.Join(fill(tmp, write), tmp.Chmod(mode), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // the error that counts is another
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// overwrite writes into what is there. Some notice only when they are closed that
// they are full.
func overwrite(path string, write func(io.Writer) error) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(fill(out, write), out.Close())
}

func fill(file *os.File, write func(io.Writer) error) error {
	b := bufio.NewWriter(file)
	return errors.Join(write(b), b.Flush())
}

// WriteJSON writes a value, indented for people.
func (f File) WriteJSON(v any) error {
	return f.Write(func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	})
}
