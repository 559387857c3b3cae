package sink

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/schema"
)

// minter is what the server keeps of its rooms, in short: the last offset
// committed, and provisional ones while a batch is under way.
type minter struct {
	store       *Store
	last        map[string]uint64
	provisional map[string]uint64
}

func (n *minter) mint(batch []*schema.Message) error {
	clear(n.provisional)
	for _, m := range batch {
		prev, ok := n.provisional[m.Room]
		if !ok {
			if prev, ok = n.last[m.Room]; !ok {
				var err error
				if prev, err = n.store.Last(context.Background(), m.Room); err != nil {
					return err
				}
			}
		}
		m.Prev, m.Offset = prev, schema.NextOffset(prev, time.Now())
		n.provisional[m.Room] = m.Offset
	}
	return nil
}

func (n *minter) committed(_ []*schema.Message, err error) {
	if err != nil {
		return
	}
	for room, offset := range n.provisional {
		n.last[room] = offset
	}
}

// runKill is the child of TestKill9: it writes messages to 5 rooms until it is killed, and prints the room
// and offset of each when it is acknowledged.
func runKill(dir string) {
	s, err := OpenSQLite(dir, SyncNormal, nil)
	if err != nil {
		panic(err)
	}
	n := &minter{s, make(map[string]uint64), make(map[string]uint64)}
	d := NewDirect(s, DirectConfig{MaxRecords: 300, BatchRecords: 50, Mint: n.mint, Committed: n.committed})
	for i := 0; ; i++ {
		m := &schema.Message{Room: fmt.Sprint("room", rand.IntN(5)), User: "u", Data: []byte(fmt.Sprintf(`"message %d"`, i))}
		if i%4 == 0 {
			m.Key = fmt.Sprint(os.Getpid(), i)
		}
		err := d.Submit(m, func(err error) {
			if err != nil {
				panic(err)
			}
			fmt.Printf("%s %d %s\n", m.Room, m.Offset, m.Data) // one write, not buffered
		})
		if err != nil {
			time.Sleep(time.Millisecond)
		}
	}
}

// P1 for one node alone: what was acknowledged before kill -9 is there after.
func TestKill9(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acked := make(map[string]map[uint64]string) // room, offset -> data
	for round := range 5 {
		before := count(acked)
		killChild(t, dir, time.Duration(random.IntN(150_000))*time.Microsecond, acked)
		checkAcked(t, dir, acked)
		t.Logf("round %d: %d acknowledged", round, count(acked)-before)
	}
}

// killChild runs a child, kills it some time after its first acknowledgement,
// and adds what it acknowledged.
func killChild(t *testing.T, dir string, after time.Duration, acked map[string]map[uint64]string) {
	t.Helper()
	cmd := childCommand(killEnv, dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() // fails, since the child was killed
	defer cmd.Process.Kill()

	lines := bufio.NewScanner(out)
	for first := true; lines.Scan(); first = false {
		if first {
			time.AfterFunc(after, func() { cmd.Process.Kill() }) // runs once; nothing to stop
		}
		var room, data string
		var offset uint64
		if _, err := fmt.Sscanf(lines.Text(), "%s %d %q", &room, &offset, &data); err != nil {
			t.Fatalf("the child said %q: %v", lines.Text(), err)
		}
		if acked[room] == nil {
			acked[room] = make(map[uint64]string)
		}
		if _, ok := acked[room][offset]; ok {
			t.Errorf("room %s: offset %d acknowledged twice", room, offset)
		}
		acked[room][offset] = data
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// checkAcked checks that each room is one chain with all that was
// acknowledged in it. What was stored and not acknowledged may be there too.
func checkAcked(t *testing.T, dir string, acked map[string]map[uint64]string) {
	t.Helper()
	s, err := OpenSQLite(dir, SyncNormal, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		checkStore(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for room, want := range acked {
		page, err := s.After(t.Context(), room, 0, 0, 1<<30, 1<<40)
		if err != nil {
			t.Fatal(err)
		}
		var last uint64
		found := 0
		for _, m := range page {
			if m.Prev != last || m.Offset <= last {
				t.Fatalf("room %s: offset %d with prev %d after %d", room, m.Offset, m.Prev, last)
			}
			last = m.Offset
			if data, ok := want[m.Offset]; ok {
				found++
				if fmt.Sprintf("%q", data) != string(m.Data) {
					t.Errorf("room %s: offset %d has %s, acknowledged was %q", room, m.Offset, m.Data, data)
				}
			}
		}
		if found != len(want) {
			t.Errorf("room %s: %d of %d acknowledged messages are stored", room, found, len(want))
		}
	}
}

func count(acked map[string]map[uint64]string) (n int) {
	for _, room := range acked {
		n += len(room)
	}
	return n
}
