package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/hubbub-chat/hubbub/internal/suggest"
)

const envPrefix = "HUBBUB_"

// otherNames are HUBBUB_ names that are no flags': a secret that has none, and
// what this repository's scripts and tests hand on to the programs they start.
var otherNames = []string{
	kafkaPasswordEnv, "HUBBUB_BIN", "HUBBUB_CLUSTER_DIR", "HUBBUB_CLUSTER_PORTS", "HUBBUB_CHAOS", "HUBBUB_CHAOS_SEED",
}

var (
	testName = regexp.MustCompile(`^HUBBUB_(\w+_)?TEST_`)
	// serviceName is what Kubernetes tells every container of a service called
	// hubbub or hubbub-anything, and Docker's links likewise.
	serviceName = regexp.MustCompile(`^HUBBUB_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	servicePort = regexp.MustCompile(`^HUBBUB_(\w+_)?PORT$`)
	serviceURL  = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

// checkEnvironment refuses HUBBUB_ names that no command has: a setting that
// is misspelt would be left out without a word, and the server be an open one. In
// lower case a setting's name is misspelt, too.
// Names of one command are known to all: they share a file of settings.
func checkEnvironment(app *kong.Application, environ []string, warn io.Writer) error {
	known := append(flagNames(app.Node), otherNames...)
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		switch {
		case slices.Contains(known, strings.ToUpper(name)) && !slices.Contains(known, name):
			return fmt.Errorf("%s in the environment is not a setting; did you mean %s?", name, strings.ToUpper(name))
		case !strings.HasPrefix(name, envPrefix), slices.Contains(known, name), testName.MatchString(name), serviceName.MatchString(name):
			continue
		case servicePort.MatchString(name): // HUBBUB_PORT=tcp://10.0.0.1:8000
			if !serviceURL.MatchString(value) {
				fmt.Fprintf(warn, "hubbub: %s is not a setting, and means nothing here: the address is HUBBUB_ADDR, as HOST:PORT\n", name)
			}
			continue
		}
		if near := suggest.Nearest(strings.TrimPrefix(name, envPrefix), trimmed(known)); near != "" {
			return fmt.Errorf("%s in the environment is not a setting; did you mean %s%s?", name, envPrefix, near)
		}
		return fmt.Errorf("%s in the environment is not a setting; hubbub COMMAND --help names them", name)
	}
	return nil
}

// flagNames are the names in the environment of all flags of all commands.
func flagNames(n *kong.Node) (names []string) {
	for _, f := range n.Flags {
		names = append(names, f.Envs...)
	}
	for _, child := range n.Children {
		names = append(names, flagNames(child)...)
	}
	return names
}

func trimmed(names []string) []string {
	short := make([]string, len(names))
	for i, name := range names {
		short[i] = strings.TrimPrefix(name, envPrefix)
	}
	return short
}
