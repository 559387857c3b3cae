// Package leaks looks for goroutines that the tests of a package have left
// behind. It is goleak with more patience: that gives goroutines which are about
// to end half a second, and on a busy machine they may need longer; some of
// rueidis sleep for a second before they notice that their client is closed.
package leaks

import (
	"time"

	"go.uber.org/goleak"
)

// patience is how long a goroutine may go on behind the last test.
const patience = 15 * time.Second

// Main runs a package's tests, and fails them when goroutines are left. Its
// argument is a *testing.M.
func Main(m goleak.TestingM, ignored ...goleak.Option) {
	goleak.VerifyTestMain(waiting{m, ignored}, ignored...)
}

// MainThen is Main, with something to do behind it that gets the exit code, and
// ends the process.
func MainThen(m goleak.TestingM, then func(code int)) {
	goleak.VerifyTestMain(waiting{m, nil}, goleak.Cleanup(then))
}

// waiting is a TestingM that ends when no goroutine is left, or patience is over.
type waiting struct {
	goleak.TestingM
	ignored []goleak.Option
}

func (w waiting) Run() int {
	code := w.TestingM.Run()
	if code == 0 {
		_ = Find(w.ignored...) // goleak looks once more, and tells
	}
	return code
}

// Find waits until no goroutine is left but the ignored ones, and returns an
// error that has the others when patience is over.
func Find(ignored ...goleak.Option) error { return find(patience, ignored...) }

func find(patience time.Duration, ignored ...goleak.Option) error {
	for end := time.Now().Add(patience); ; {
		err := goleak.Find(ignored...)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
