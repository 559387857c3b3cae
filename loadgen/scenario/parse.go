package scenario

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

//go:embed builtin/*.yaml
var builtin embed.FS

// Names are the built-in scenarios.
func Names() (names []string) {
	files, err := fs.Glob(builtin, "builtin/*.yaml")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(path.Base(f), ".yaml"))
	}
	return names
}

// Text is a built-in scenario by its name, or the file of that name.
func Text(name string) ([]byte, error) {
	if text, err := builtin.ReadFile("builtin/" + name + ".yaml"); err == nil {
		return text, nil
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no built-in scenario and no file %q; built in are %s", name, strings.Join(Names(), ", "))
	}
	return text, err
}

// Parse reads a scenario. Settings are KEY=VALUE with a key like connections
// or phases.1.rate; they replace what the text says. The error is one line.
func Parse(text []byte, settings ...string) (*Scenario, error) {
	text, err := replace(text, settings)
	if err != nil {
		return nil, err
	}
	s := &Scenario{}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(s); errors.Is(err, io.EOF) {
		return nil, errors.New("the scenario is empty")
	} else if err != nil {
		return nil, oneLine(err)
	}
	s.unroll()
	s.setDefaults()
	return s, s.check()
}

// oneLine shortens an error of the decoder, which has a line for each fault,
// to the first of them.
func oneLine(err error) error {
	var faults *yaml.TypeError
	text := err.Error()
	if errors.As(err, &faults) && len(faults.Errors) > 0 {
		text = faults.Errors[0]
	}
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "yaml: "), "\n")
	text = strings.NewReplacer("field ", "unknown key ", " not found in type scenario.Scenario", "",
		" not found in type scenario.", ", not one of a ", " not found in ", ", not one of ").Replace(text)
	return errors.New(text)
}

// unroll writes repeated phases out.
func (s *Scenario) unroll() {
	var all []Phase
	for i := range s.Phases {
		p := s.Phases[i]
		all = append(all, p)
		block := all[max(0, len(all)-1-max(p.Back, 0)):]
		for k := 1; k < min(p.Repeat, maxPhases) && len(all) < maxPhases; k++ {
			all = append(all, block...)
		}
	}
	s.Phases = all
}

func (s *Scenario) setDefaults() {
	or := func(d *Duration, v time.Duration) {
		if d.Value == 0 {
			d.Value = v
		}
	}
	if s.ConnectRate == 0 {
		s.ConnectRate = 5000
	}
	if s.Payload.Most == 0 {
		s.Payload = Range{200, 200}
	}
	if s.Rooms.Sizes == "zipf" && s.Rooms.Exponent == 0 {
		s.Rooms.Exponent = 1
	}
	if s.Reconnect != nil {
		or(&s.Reconnect.Min, 200*time.Millisecond)
		or(&s.Reconnect.Max, 5*time.Second)
	}
	if s.HistoryPage == 0 {
		s.HistoryPage = 50
	}
	or(&s.Drain, 10*time.Second)
	for i := range s.Phases {
		if s.Phases[i].Name == "" {
			s.Phases[i].Name = fmt.Sprint("phase ", i+1)
		}
	}
}
