package report

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Figure is a number that not every system tells, as what another process uses:
// NaN where it is not known, for which JSON has null. What is computed from one
// that is not known is not known either, and no comparison with it holds.
type Figure float64

// notKnown is what people read of it.
const notKnown = "not known here"

// Unknown is a figure that is not known.
func Unknown() Figure { return Figure(math.NaN()) }

// Known reports whether it is.
func (f Figure) Known() bool { return !math.IsNaN(float64(f)) }

// Text writes it, with a format for a float64.
func (f Figure) Text(format string) string {
	if !f.Known() {
		return notKnown
	}
	return fmt.Sprintf(format, float64(f))
}

// Mib writes bytes in MiB.
func (f Figure) Mib() string {
	if !f.Known() {
		return notKnown
	}
	return Mib(int64(f))
}

// cell is the figure in a line of CSV, empty where it is not known.
func (f Figure) cell() string {
	if !f.Known() {
		return ""
	}
	return strconv.FormatFloat(float64(f), 'f', -1, 64)
}

// MarshalJSON implements json.Marshaler.
func (f Figure) MarshalJSON() ([]byte, error) {
	if !f.Known() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(f))
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *Figure) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*f = Unknown()
		return nil
	}
	return json.Unmarshal(text, (*float64)(f))
}
