package main

import (
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// nginx.conf and a node have limits that have to agree.
func TestNginxConf(t *testing.T) {
	text, err := os.ReadFile("../nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	find := func(expression string) string {
		t.Helper()
		m := regexp.MustCompile(expression).FindSubmatch(text)
		if m == nil {
			t.Fatalf("nginx.conf has nothing like %s", expression)
		}
		return string(m[1])
	}

	// An idle connection between them is closed by nginx, which sends. What it sends
	// while a node closes would be lost, and answered 502.
	const spare = 5 * time.Second
	kept, err := time.ParseDuration(find(`upstream hubbub \{[^}]*\n\s+keepalive_timeout (\w+);`))
	idle := start(t).node.web.IdleTimeout
	if err != nil || kept+spare > idle {
		t.Errorf("nginx keeps idle connections for %v (%v), and a node for %v", kept, err, idle)
	}

	// A head that a node takes comes through nginx.
	field, _ := reflect.TypeFor[serveCmd]().FieldByName("MaxHead")
	head, err := strconv.Atoi(field.Tag.Get("default"))
	if err != nil {
		t.Fatal(err)
	}
	size := find(`\n\s+large_client_header_buffers 4 (\d+k);`)
	if k, err := strconv.Atoi(strings.TrimSuffix(size, "k")); err != nil || k<<10 < head {
		t.Errorf("nginx takes lines of %s, and a node heads of %d bytes", size, head)
	}
}
