package cluster

import (
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// compose is what of deploy/compose.yaml is compared.
type compose struct {
	Services map[string]struct {
		Image       string
		Command     []string
		Environment map[string]string
		Volumes     []string
		Ports       []string
	}
}

func readCompose(t testing.TB) compose {
	t.Helper()
	var c compose
	if err := yaml.Unmarshal([]byte(read(t, "deploy/compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// script runs one of the scripts and returns its lines.
func script(t testing.TB, name string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("./"+filepath.Join("scripts", name), args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(strings.Lines(string(out)))
}

// TestComposeNodes: compose.yaml starts the nodes and writers that `make cluster`
// starts, with the same settings, up to where their machines differ.
func TestComposeNodes(t *testing.T) {
	c := readCompose(t)
	local := regexp.MustCompile(`127\.0\.0\.1:\d+|127\.0\.0\.0/8|172\.16\.0\.0/12|:80[01]0`)
	place := func(s string) string { return local.ReplaceAllString(s, "PLACE") }
	ours := make(map[string]bool)
	for _, line := range script(t, "cluster", "commands") {
		name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		ours[name] = true
		if got := strings.Join(c.Services[name].Command, " "); place(got) != place(args) {
			t.Errorf("%s is run as %q, and with Docker as %q", name, args, got)
		}
	}
	for name, s := range c.Services {
		if s.Image == "hubbub" && !ours[name] && name != "migrate" {
			t.Errorf("with Docker there is a %s, and without there is none", name)
		}
	}

	settings := make(map[string]string)
	for _, line := range script(t, "services", "env") {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "="); ok {
			settings[name] = place(strings.Trim(value, "'"))
		}
	}
	hosts := regexp.MustCompile(`(redis|kafka|mysql):\d+`)
	for name := range ours {
		got := make(map[string]string)
		for key, value := range c.Services[name].Environment {
			got[key] = hosts.ReplaceAllString(value, "PLACE")
		}
		if !maps.Equal(got, settings) {
			t.Errorf("%s has the settings %v, and with Docker %v", name, settings, got)
		}
	}
}

// TestComposeServers: Redis and Kafka are set up alike with and without Docker.
func TestComposeServers(t *testing.T) {
	c := readCompose(t)
	start := read(t, "scripts/services")

	redis := regexp.MustCompile(`(?s)redis-server (.*?)\n\}`).FindStringSubmatch(start)[1]
	redis = strings.NewReplacer("\\\n", " ", `"`, "").Replace(redis)
	redis = regexp.MustCompile(`--(port|bind|dir) \S+`).ReplaceAllString(redis, "")
	got := strings.Join(c.Services["redis"].Command[1:], " ")
	if strings.Join(strings.Fields(redis), " ") != strings.Join(strings.Fields(got), " ") {
		t.Errorf("Redis is run with %q, and with Docker with %q", redis, got)
	}

	text := regexp.MustCompile(`(?s)server\.properties" <<EOF\n(.*?)EOF`).FindStringSubmatch(start)[1]
	places := regexp.MustCompile(`listeners|log\.dirs|quorum`)
	properties := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if !places.MatchString(name) {
			properties["KAFKA_"+strings.ToUpper(strings.ReplaceAll(name, ".", "_"))] = value
		}
	}
	kafka := maps.Clone(c.Services["kafka"].Environment)
	maps.DeleteFunc(kafka, func(name, _ string) bool {
		return places.MatchString(strings.ToLower(strings.ReplaceAll(name, "_", "."))) ||
			name == "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP" || name == "KAFKA_CONTROLLER_LISTENER_NAMES" || name == "KAFKA_HEAP_OPTS"
	})
	delete(properties, "KAFKA_CONTROLLER_LISTENER_NAMES")
	if !maps.Equal(properties, kafka) {
		t.Errorf("Kafka is run with %v, and with Docker with %v", properties, kafka)
	}
	if image := c.Services["kafka"].Image; image != "apache/kafka:"+backends.KafkaVersion {
		t.Errorf("Kafka is %s, and with Docker %s", backends.KafkaVersion, image)
	}
}

// TestComposeNginx: nginx of compose.yaml has all that nginx.conf includes, and
// comes up with it, nodes apart, whose names Docker knows alone.
func TestComposeNginx(t *testing.T) {
	c := readCompose(t)
	for _, name := range c.Services["nginx"].Volumes {
		file, _, _ := strings.Cut(name, ":")
		if _, err := filepath.EvalSymlinks(filepath.Join(root, "deploy", file)); err != nil {
			t.Error(err)
		}
	}
	nodes := read(t, "deploy/nginx/docker/nodes.conf")
	for name, s := range c.Services {
		if slices.Contains(s.Command, "serve") && !strings.Contains(nodes, "server "+name+":8000 max_fails=0;\n") {
			t.Errorf("nginx does not know %s", name)
		}
	}
	address := backends.Addr(t)
	listen := strings.Replace(read(t, "deploy/nginx/docker/listen.conf"), "listen 8080 ", "listen "+address+" ", 1)
	f := startFront(t, site{nodes: []string{backends.Addr(t)}, listen: listen + "\nlisten %s;", files: map[string]string{
		"hubbub/site.conf": read(t, "deploy/nginx/docker/site.conf"),
	}})
	if resp, _ := get(t, "http://"+address+"/"); resp.StatusCode != 502 {
		t.Errorf("without nodes the page is %s", resp.Status)
	}
	eventually(t, "the request is logged to stdout", func() bool { return strings.Contains(f.Log(), `"status":502`) })
	_, port, _ := strings.Cut(c.Services["nginx"].Ports[0], ":8080:")
	if port != "8080" || !strings.Contains(read(t, "deploy/nginx/docker/listen.conf"), "listen 8080 ") {
		t.Errorf("the port of nginx that is published is %q", c.Services["nginx"].Ports)
	}
}

// TestDockerfile: the image is built with the Go that go.mod asks for.
func TestDockerfile(t *testing.T) {
	wants := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))[1]
	if !strings.Contains(read(t, "deploy/Dockerfile"), "FROM golang:"+wants+".") {
		t.Errorf("go.mod asks for Go %s, the Dockerfile has another", wants)
	}
}
