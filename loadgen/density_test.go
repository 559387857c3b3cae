package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestDensityRooms measures connections and rooms: each room gets its messages.
func TestDensityRooms(t *testing.T) {
	t.Parallel()
	url, _ := startChat(t, wrong{}, false)
	args := []string{"density", "--url", url, "--server-pid", strconv.Itoa(os.Getpid()), "--steps", "10,20", "--members", "5", "--settle", "10ms"}
	code, r, stdout, stderr := loadgen(t, t.Context(), append(args, "--room-messages", "8")...)
	if code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	d := r.Density
	if len(d.Steps) != 3 || d.BaseBytes < d.Steps[0].RSSAnon || d.Rooms == nil || d.Rooms.Rooms != 4 || len(d.Rooms.Steps) != 4 || d.Rooms.Messages() != 8 {
		t.Fatalf("%+v, %+v", d, d.Rooms)
	}
	if r.Check.Acked != 4*8 || r.Check.Delivered != 4*8*5 || usageKnown() && !strings.Contains(stdout, "bytes a room with 8 messages of 200 bytes") {
		t.Errorf("%+v\n%s", r.Check, stdout)
	}
	if code, r, stdout, _ := loadgen(t, t.Context(), append(args, "--room-messages", "0")...); code != exitOK || r.Density.Rooms != nil {
		t.Errorf("without rooms: exit code %d\n%s", code, stdout)
	}
	if code, _, _, stderr := loadgen(t, t.Context(), append(args, "--metrics-url", "http://127.0.0.1:1/metrics")...); code != exitUsage {
		t.Errorf("no metrics: exit code %d, %s", code, stderr)
	}
}
