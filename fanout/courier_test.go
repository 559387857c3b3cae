package fanout

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/hubbub-chat/hubbub/schema"
)

// Members that take compressed frames get the same messages as the others,
// each a frame of its own that inflates by itself; short ones stay plain.
func TestCompressedForm(t *testing.T) {
	w := newWorld(t, Config{}, 1)
	room := w.open("lobby")
	plain, small := &fakePeer{window: -1}, &fakePeer{window: -1}
	w.join(0, room, plain)
	if _, ok := w.hub.Shard(0).Join(room, FormOf(schema.JSON, true), new(Member), small); !ok {
		t.Fatal("the room is gone")
	}
	long := `{"text":"` + strings.Repeat("hello ", 200) + `"}`
	for _, data := range []string{long, `1`, `2`, long} {
		w.publish("lobby", data)
	}
	w.commit()
	w.settle()
	var want, got []string
	for _, f := range frames(t, plain.got) {
		want = append(want, strings.Split(string(f.Payload), "\n")...)
	}
	compressed := 0
	for _, f := range frames(t, small.got) {
		if !f.Header.Rsv1() {
			got = append(got, strings.Split(string(f.Payload), "\n")...)
			continue
		}
		compressed++
		tail := "\x00\x00\xff\xff\x01\x00\x00\xff\xff"
		text, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(f.Payload), strings.NewReader(tail))))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(text))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %.200q\nwant %.200q", got, want)
	}
	if compressed != 2 || len(small.got) > len(plain.got)/3 {
		t.Errorf("%d frames are compressed, %d bytes instead of %d", compressed, len(small.got), len(plain.got))
	}
}

func frames(t *testing.T, stream []byte) (list []ws.Frame) {
	for r := bytes.NewReader(stream); r.Len() > 0; {
		f, err := readFrame(r)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, f)
	}
	return list
}
