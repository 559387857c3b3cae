package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// SLO is what a server has to keep, as a YAML file. Zero values ask for
// nothing; Loss asks for none.
type SLO struct {
	P99    Duration `yaml:"p99"`     // of delivery, at most
	AckP99 Duration `yaml:"ack_p99"` // from publish to acknowledgement, at most
	Loss   uint64   `yaml:"loss"`    // deliveries lost, duplicated or out of order, at most; default none
	Failed uint64   `yaml:"failed"`  // connections that do not come in or are ended, publishes refused, at most; default none
	Memory Bytes    `yaml:"memory"`  // resident, of the server
	CPU    float64  `yaml:"cpu"`     // of the server, in cores, at most
}

// ParseSLO reads an SLO file. The error is one line.
func ParseSLO(text []byte) (*SLO, error) {
	s := &SLO{}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(s); errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	} else if err != nil {
		return nil, oneLine(err)
	}
	if s.CPU < 0 {
		return nil, errors.New("cpu must not be below 0")
	}
	return s, nil
}

// Bytes is a size like 500MB or 2GiB.
type Bytes int64

var units = []struct {
	name string
	size float64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}, {"", 1}}

// UnmarshalYAML implements yaml.Unmarshaler.
func (b *Bytes) UnmarshalYAML(n *yaml.Node) error {
	for _, u := range units {
		if text, ok := strings.CutSuffix(n.Value, u.name); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil || v < 0 || v*u.size > 1<<60 {
				break
			}
			*b = Bytes(v * u.size)
			return nil
		}
	}
	return fmt.Errorf("line %d: %q is not a size like 500MB or 2GiB", n.Line, n.Value)
}
