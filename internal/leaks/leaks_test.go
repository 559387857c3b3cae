package leaks

import (
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

// A goroutine that ends late, though later than goleak waits, is no leak.
func TestFind(t *testing.T) {
	go time.Sleep(1500 * time.Millisecond) // ends by itself
	if err := Find(); err != nil {
		t.Error(err)
	}
	stop := make(chan struct{})
	go func() { <-stop }() // ends with stop
	if find(time.Second) == nil {
		t.Error("a goroutine that stays was not found")
	}
	close(stop)
}
