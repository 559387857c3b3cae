package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/server/api"
)

// Each of these ends with code 2 and one line that says what to do.
func TestSettingsRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		name string
		env  string // NAME=VALUE, or empty
		args []string
		says string
	}{
		// A misspelt name in the environment, for every command.
		{"serve", "HUBBUB_TOKENKEY=sesame", nil, "HUBBUB_TOKENKEY in the environment is not a setting; did you mean HUBBUB_TOKEN_KEY?"},
		{"sink", "HUBBUB_TOKENKEY=sesame", []string{"sink"}, "did you mean HUBBUB_TOKEN_KEY?"},
		{"migrate", "HUBBUB_MYSQL_=sesame", []string{"migrate"}, "did you mean HUBBUB_MYSQL?"},
		{"token", "HUBBUB_TOKEN_KEYS=sesame", []string{"token", "--user=a"}, "did you mean HUBBUB_TOKEN_KEY?"},
		{"lower case", "HUBBUB_token_key=sesame", nil, "did you mean HUBBUB_TOKEN_KEY?"},
		{"all of it in lower case", "hubbub_token_key=sesame", nil, "did you mean HUBBUB_TOKEN_KEY?"},
		{"nothing like it", "HUBBUB_QUETZALCOATL=sesame", nil, "hubbub COMMAND --help names them"},
		{"a password's name", "HUBBUB_KAFKAPASSWORD=sesame", nil, "did you mean HUBBUB_KAFKA_PASSWORD?"},
		// What decides who may come in, and is empty.
		{"empty token key", "HUBBUB_TOKEN_KEY=", nil, "--token-key: "},
		{"empty JWK set", "HUBBUB_JWKS=", nil, "--jwks: empty"},
		{"empty JWK set by flag", "", []string{"--jwks="}, "--jwks: empty"},
		{"empty API key", "HUBBUB_API_KEY=", nil, "--api-key: "},
		// Keys in files.
		{"no file of an API key", "", []string{"--api-key=file:" + dir + "/none"}, "--api-key: open " + dir + "/none"},
		{"no file of an API key, in capitals", "", []string{"--api-key=FILE:" + dir + "/none"}, "--api-key: open "},
		{"empty file of an API key", "", []string{"--api-key=file:" + write("empty", "\n")}, "--api-key: " + dir + "/empty is empty"},
		{"short API key in a file", "", []string{"--api-key=file:" + write("short", "sesame\n")}, "--api-key: key 1 has 6 bytes"},
		{"short secret in a file", "", []string{"--token-key=hs256-file:" + write("secret", "sesame\n")}, "--token-key: the secret has 6 bytes"},
		{"no file of a database", "", []string{"--mysql=file:" + dir + "/none"}, "--mysql: open "},
		{"JWK set that is no JSON", "", []string{"--jwks=" + write("set.json", "{\n  \"keys\": [sesame]}")}, "--jwks: not a JWK set: no JSON at line 2, column 12"},
		// Files that are no JSON, or have names nobody knows.
		{"rules cut off", "", []string{"--config=" + write("cut.json", "{\n  \"default\": {\n")}, "cut.json: line 3, column 1: unexpected end"},
		{"rules with a comma", "", []string{"--config=" + write("comma.json", "{\n  \"default\": {},\n}")}, "comma.json: line 3, column 1: "},
		{"rules with an unknown name", "", []string{"--config=" + write("name.json", "{\n  \"default\": {\"historysize\": 1}}")}, `name.json: line 2, column 15: unknown name "historysize"; did you mean "history_size"?`},
		// Connections that no process can have.
		{"connections", "", []string{"--max-conns=10000000"}, "RLIMIT_NOFILE"},
		{"an origin of sockets", "", []string{"--allowed-origins=wss://chat.example"}, "write https://chat.example"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if name, value, ok := strings.Cut(test.env, "="); ok {
				t.Setenv(name, value)
			}
			args := test.args
			if len(args) == 0 || strings.HasPrefix(args[0], "-") {
				args = append([]string{"serve", "--addr=127.0.0.1:0", "--data=" + t.TempDir()}, args...)
			}
			var stdout, stderr bytes.Buffer
			ended := make(chan int, 1)
			go func() { ended <- run(args, &stdout, &stderr) }() // ends with its line, or serves
			select {
			case code := <-ended:
				if code != 2 {
					t.Errorf("code %d, want 2", code)
				}
			case <-time.After(time.Minute):
				t.Fatal("it does not end: it serves")
			}
			if got := stderr.String(); !strings.Contains(got, test.says) || strings.Count(got, "\n") != 1 || strings.Contains(got, "sesame") {
				t.Errorf("stderr %q, want one line with %q", got, test.says)
			}
		})
	}
}

// firstLogLine starts a node, reads what it logs first, and ends it.
func firstLogLine(t *testing.T, cmd *exec.Cmd) map[string]any {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(stderr).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	first := map[string]any{}
	if err := json.Unmarshal(line, &first); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	addressIn(t, bufio.NewReader(stdout)) // from here on it ends in order
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := ended(t, cmd); code != 0 {
		t.Errorf("exit code %d", code)
	}
	return first
}

// The first line of the log says who may come in, and no secret. Names that
// Kubernetes and the tests put into the environment are no settings.
func TestFirstLine(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("0123456789abcdef-sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(t.TempDir(), "rules.json")
	if err := os.WriteFile(rules, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	cpus := runtime.NumCPU()%8 + 1 // another number
	for _, test := range []struct {
		name      string
		env, args []string
		want      map[string]any
	}{
		{"alone", []string{
			"HUBBUB_PORT=tcp://10.0.0.1:8000", "HUBBUB_SERVICE_HOST=10.0.0.1", "HUBBUB_SERVICE_PORT=8000", "HUBBUB_SERVICE_PORT_HTTP=8000",
			"HUBBUB_PORT_8000_TCP=tcp://10.0.0.1:8000", "HUBBUB_PORT_8000_TCP_ADDR=10.0.0.1", "HUBBUB_PORT_8000_TCP_PROTO=tcp",
			"HUBBUB_SINK_PORT=tcp://10.0.0.2:8010", "HUBBUB_SINK_SERVICE_HOST=10.0.0.2", "HUBBUB_TEST_REDIS=127.0.0.1:6379", "HUBBUB_BIN=/bin/hubbub",
			"HUBBUB_TTL=1h", // of another command
			fmt.Sprintf("GOMAXPROCS=%d", cpus),
		}, nil, map[string]any{"clients": "guests", "api": false, "redis": "", "mysql": "", "loops": float64(cpus)}},
		{"tokens, API, rules", []string{"HUBBUB_TOKEN_KEY=" + testSecret, "HUBBUB_API_KEY=file:" + key}, []string{"--config=" + rules},
			map[string]any{"clients": "tokens", "api": true, "config": rules, "token_keys": 1.0}},
		{"insecure", nil, []string{"--insecure", "--token-key=hs256:sesame", fmt.Sprintf("--loops=%d", cpus)},
			map[string]any{"loops": float64(cpus), "clients": "guests and tokens; everybody may do everything (--insecure)"}},
		{"nobody", nil, []string{"--no-guests"}, map[string]any{"clients": "nobody: no guests (--no-guests), and no --token-key or --jwks"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := childCommand(context.WithoutCancel(t.Context()), append([]string{"serve", "--addr=127.0.0.1:0", "--data=" + t.TempDir(), "--drain=0s"}, test.args...)...)
			cmd.Env = append(cmd.Env, test.env...)
			first := firstLogLine(t, cmd)
			for name, want := range test.want {
				if first[name] != want {
					t.Errorf("%s is %v, want %v: %v", name, first[name], want, first)
				}
			}
			if text := fmt.Sprint(first); strings.Contains(text, "sesame") || strings.Contains(text, testSecret) {
				t.Errorf("a secret is logged: %s", text)
			}
		})
	}
}

// The back ends are named without their passwords.
func TestBackEndsInTheLog(t *testing.T) {
	r := redisFlags{Redis: "redis://u:sesame@10.0.0.1:6379?addr=10.0.0.2:6379", RedisPrefix: "hubbub"}
	k := kafkaFlags{Kafka: []string{"10.0.0.3:9092"}}
	m := mysqlFlags{MySQL: "u:sesame@tcp(10.0.0.4:3306)/chat", MySQLConns: 4}
	got := fmt.Sprint(backEnds(&r, &k, &m))
	for _, want := range []string{"10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:9092", "chat at 10.0.0.4:3306"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in %s", want, got)
		}
	}
	if strings.Contains(got, "sesame") {
		t.Errorf("a password is logged: %s", got)
	}
}

// A limit of open files that leaves too little is said, with its name.
func TestFitFiles(t *testing.T) {
	for _, test := range []struct {
		asked, limit, conns int
		warning, err        string
	}{
		{0, 20_000, 20_000 - reservedFiles, "", ""},
		{0, 1024, 768, "RLIMIT_NOFILE 1024 leaves room for 768 connections", ""},
		{0, 256, 0, "", "RLIMIT_NOFILE 256, has no room for connections"},
		{0, 0, 0, "", ""},
		{100, 0, 100, "", ""},
		{100, 20_000, 100, "", ""},
		{100, 256, 100, "RLIMIT_NOFILE 256", ""},
		{20_000, 20_000, 20_000, "RLIMIT_NOFILE 20000", ""},
		{10_000_000, 20_000, 0, "", "--max-conns 10000000 is above the limit of open files, RLIMIT_NOFILE 20000"},
	} {
		conns, warning, err := fitFiles(test.asked, test.limit)
		if conns != test.conns || !strings.Contains(warning, test.warning) || (warning == "") != (test.warning == "") ||
			(err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%d of %d: %d, %q, %v", test.asked, test.limit, conns, warning, err)
		}
	}
}

// A process with `ulimit -n 256` does not become a server of one connection.
func TestFewOpenFiles(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := childCommand(ctx, "serve", "--addr=127.0.0.1:0", "--data="+t.TempDir())
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `ulimit -n 256; exec "$0" "$@"`}, cmd.Args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_ = cmd.Run() // the exit code says it
	if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(stderr.String(), "RLIMIT_NOFILE 256") {
		t.Errorf("code %d and %q", code, stderr.String())
	}
}

// A limit of open files that leaves few connections is told by a line of the log.
func TestSomeOpenFiles(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := childCommand(ctx, "serve", "--addr=127.0.0.1:0", "--data="+t.TempDir(), "--drain=0s")
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `ulimit -n 300; exec "$0" "$@"`}, cmd.Args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := ""
	for lines := bufio.NewScanner(stderr); !strings.Contains(text, "RLIMIT_NOFILE 300 leaves room for 44 connections"); {
		if !lines.Scan() {
			t.Fatalf("it said %s", text)
		}
		text += lines.Text() + "\n"
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil { // it serves: its signals are caught
		t.Fatal(err)
	}
	if code := ended(t, cmd); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// The variable of a service that is called hubbub may be meant for the port.
func TestServicePort(t *testing.T) {
	for value, warned := range map[string]bool{"8000": true, "tcp://10.0.0.1:8000": false} {
		t.Setenv("HUBBUB_PORT", value)
		var stdout, stderr bytes.Buffer
		code := run([]string{"token", "--user=a", "--token-key=hs256:" + testSecret}, &stdout, &stderr)
		if got := strings.Contains(stderr.String(), "HUBBUB_PORT is not a setting"); code != 0 || got != warned {
			t.Errorf("%s: code %d, %q", value, code, stderr.String())
		}
	}
}

// The API takes the key that stands in a file, and not the file's name.
func TestAPIKeyInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("0123456789abcdef-sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := startAPI(t)
	h := start(t, func(o *options) { o.APIKeys = []api.Key{api.Key("file:" + path)} })
	b.h = h
	for key, want := range map[string]int{"0123456789abcdef-sesame": 200, "file:" + path: 401} {
		if status, answer, err := b.send("POST", "/api/info", "{}", "X-API-Key: "+key, "Content-Type: application/json"); err != nil || status != want {
			t.Errorf("%s: %d %s, %v; want %d", key, status, answer, err, want)
		}
	}
}
