package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hubbub-chat/hubbub/internal/strictjson"
	"github.com/hubbub-chat/hubbub/loadgen/check"
)

// Report is what is left of a run: for people as a table, for programs as
// JSON. Times are seconds or, where their name says so, microseconds.
type Report struct {
	Scenario string    `json:"scenario"`
	Run      string    `json:"run"`
	Began    time.Time `json:"began"`
	Setup    any       `json:"setup"` // the flags

	Interrupted bool     `json:"interrupted"`
	Notes       []string `json:"notes,omitempty"` // which addresses of a name were used

	Connections connections `json:"connections"`
	History     *History    `json:"history,omitempty"`
	Rows        *check.Kept `json:"rows,omitempty"` // of the database
	Messages    *Messages   `json:"messages,omitempty"`
	Phases      []Phase     `json:"phases,omitempty"`
	Check       *Check      `json:"check,omitempty"`
	Density     *Density    `json:"density,omitempty"`
	Hostile     *Hostile    `json:"hostile,omitempty"`
	FindMax     *FindMax    `json:"find_max,omitempty"`
	Tool        Tool        `json:"tool"`
	Server      *Server     `json:"server,omitempty"`

	Curves   []Curve  `json:"curves,omitempty"`
	Timeline []Second `json:"timeline,omitempty"`

	Expected []string `json:"expected,omitempty"` // of the faults, those that the scenario itself names
	Invalid  []string `json:"invalid"`            // why the figures are this tool's more than the server's; empty: they are not
	Faults   []string `json:"faults"`             // why the exit code is 1; empty: it is 0
}

// connections is how they were opened and how they ended.
type connections struct {
	Wanted      int     `json:"wanted"`
	Joined      uint64  `json:"joined"`
	Failed      uint64  `json:"failed"`
	Closed      uint64  `json:"closed"`
	Seconds     float64 `json:"seconds"` // until all had joined or failed
	Retried     uint64  `json:"retried"`
	Rejoined    uint64  `json:"rejoined"`
	Unrecovered uint64  `json:"unrecovered"`

	TCP       Quantiles `json:"tcp"`
	Handshake Quantiles `json:"handshake"`
	Connect   Quantiles `json:"connect"`
	Subscribe Quantiles `json:"subscribe"`
	Recovery  Quantiles `json:"recovery"`
	Away      Quantiles `json:"away"`
	Refresh   Quantiles `json:"refresh"`      // of tokens
	Page      Quantiles `json:"history_page"` // read by members while the scenario goes on
	Errors    Codes     `json:"errors"`
	Closes    Codes     `json:"closes"`
	Unsubs    Codes     `json:"unsubscribed"`
	Reasons   Codes     `json:"reasons"` // why they were refused or ended, and error replies, in the words of the kernel or the server
	DialError string    `json:"dial_error,omitempty"`

	Stalled  *Struck `json:"stalled,omitempty"`  // stopped reading for a time
	Silenced *Struck `json:"silenced,omitempty"` // vanished, as behind a broken network
}

// Codes are numbers of things by code. JSON wants strings for keys.
type Codes map[string]uint64

// NewCodes are numbers by code as JSON has them.
func NewCodes(m map[uint32]uint64) Codes {
	c := Codes{}
	for code, n := range m {
		c[strconv.FormatUint(uint64(code), 10)] = n
	}
	return c
}

// MainReason is the most frequent of why connections did not come in, in parentheses.
func (c *connections) MainReason() string {
	for _, reason := range c.Reasons.byNumber() {
		if !strings.HasPrefix(reason, "cut off") {
			return " (" + reason + ")"
		}
	}
	return ""
}

// byNumber are the codes, the most frequent first.
func (c Codes) byNumber() []string {
	return slices.SortedFunc(maps.Keys(c), func(a, b string) int {
		return cmp.Or(cmp.Compare(c[b], c[a]), cmp.Compare(a, b))
	})
}

// Phase is one phase's part of a report.
type Phase struct {
	Name     string  `json:"name"`
	Measured bool    `json:"measured"`
	From     float64 `json:"rate_from"`
	To       float64 `json:"rate_to"`
	Messages
}

// Messages are rates over the measured time, behind the warm-up and before
// the drain, and latencies of what was due in it.
type Messages struct {
	Seconds         float64   `json:"seconds"`
	SentRate        float64   `json:"sent_per_s"`
	AckedRate       float64   `json:"acked_per_s"`
	DeliveredRate   float64   `json:"delivered_per_s"`
	BytesRate       float64   `json:"received_bytes_per_s"`
	Payload         float64   `json:"payload_bytes,omitempty"` // of a message's data, on average
	Unsent          uint64    `json:"unsent"`
	Late            uint64    `json:"sent_late"`
	Ack             Quantiles `json:"ack"`
	AckService      Quantiles `json:"ack_service"`
	Delivery        Quantiles `json:"delivery"`
	DeliveryService Quantiles `json:"delivery_service"`
	SendError       Quantiles `json:"send_error"`  // how much later than intended messages were written
	Last            Quantiles `json:"last_member"` // until the last member of the room has it
	Recovered       Quantiles `json:"recovered"`   // of what was due while its member was away
}

// NewMessages puts two counts in relation. t may follow later.
func NewMessages(from, to *Snapshot, t *Times) *Messages {
	seconds := max(float64(to.At-from.At)/1e9, 1e-9)
	per := func(to, from uint64) float64 { return float64(to-from) / seconds }
	m := &Messages{
		Seconds: seconds, SentRate: per(to.Sent, from.Sent), AckedRate: per(to.Acked, from.Acked),
		DeliveredRate: per(to.Delivered, from.Delivered), BytesRate: per(to.BytesIn, from.BytesIn),
		Unsent: to.Unsent - from.Unsent, Late: to.Late - from.Late,
	}
	if t != nil {
		m.Times(t)
	}
	return m
}

// Times fills in the latencies.
func (m *Messages) Times(t *Times) {
	m.Ack, m.AckService = t.Ack.Quantiles(), t.AckService.Quantiles()
	m.Delivery, m.DeliveryService = t.Delivery.Quantiles(), t.DeliveryService.Quantiles()
	m.SendError = t.SendError.Quantiles()
	m.Last, m.Recovered = t.Last.Quantiles(), t.Recovered.Quantiles()
}

// Check is whether it was right, over the whole run.
type Check struct {
	Counts
	Lost       uint64 `json:"lost"` // deliveries missing after the drain
	Unanswered uint64 `json:"unanswered"`
	Unquiet    uint64 `json:"unquiet"` // connections of which it is not known whether something was still under way
	Away       uint64 `json:"away"`    // members that had not come back at the end
	MayRefuse  bool   `json:"may_refuse_recovery"`
	ComesBack  bool   `json:"comes_back"`             // whether clients do, when their connection ends
	Sample     int    `json:"sample"`                 // order was checked on one connection in this many
	Shared     int    `json:"shared_rooms,omitempty"` // rooms that several workers had members of
}

// Tool is what the load generator itself used, over its whole life.
type Tool struct {
	CPU     float64   `json:"cpu_s"`
	Seconds float64   `json:"seconds"`
	Loops   int       `json:"loops"`
	Workers int       `json:"workers,omitempty"` // processes, where there were several
	Lag     Quantiles `json:"lag"`               // of the event loops' turns
	RSS     Figure    `json:"rss_bytes"`
	RSSAnon Figure    `json:"rss_anon_bytes"`

	ClockError float64 `json:"clock_error_us,omitempty"` // by which deliveries from one worker's members to another's may be wrong
}

// Server is what the server's process used.
type Server struct {
	ConnectCPU    Figure `json:"connect_cpu_s"`
	PerConnect    Figure `json:"cpu_us_per_connect"`
	MeasuredCPU   Figure `json:"measured_cpu_s"`
	PerCPUSecond  Figure `json:"deliveries_per_cpu_s"`
	CPUPercent    Figure `json:"measured_cpu_percent"` // of one core
	RSS           Figure `json:"rss_bytes"`
	RSSAnon       Figure `json:"rss_anon_bytes"`
	RSSAnonBefore Figure `json:"rss_anon_before_bytes"`
}

// Expect writes down reasons for exit code 1 that the scenario names.
func (r *Report) Expect(faults ...string) {
	r.Faults = append(r.Faults, faults...)
	r.Expected = append(r.Expected, faults...)
}

// Judge writes down every reason for exit code 1.
func (r *Report) Judge() {
	r.Invalid = []string{}
	r.selfCheck()
	if r.Faults == nil {
		r.Faults = []string{}
	}
	bad := func(n uint64, what string) {
		if n > 0 {
			r.Faults = append(r.Faults, fmt.Sprintf("%d %s", n, what))
		}
	}
	c := &r.Connections
	bad(uint64(c.Wanted)-min(uint64(c.Wanted), c.Joined), "connections never joined"+c.MainReason())
	k := r.Check
	if k == nil || !k.ComesBack {
		bad(c.Closed, "connections ended by the server")
	}
	if k != nil {
		bad(k.Lost, "deliveries lost")
		bad(k.Duplicated, "deliveries duplicated")
		bad(k.Reordered, "deliveries out of order")
		bad(k.Unexpected, "unexpected messages")
		bad(k.PagesWrong, "history pages wrong")
		bad(k.PagesRefused, "history pages refused")
		bad(k.Refused, "publishes refused")
		bad(k.Unanswered, "publishes unanswered")
		if k.ComesBack {
			bad(k.Gone, "connections ended for good")
		}
		bad(k.Away, "members never came back")
		if !k.MayRefuse {
			bad(k.Unrecovered, "recoveries refused")
		}
		if !k.ComesBack {
			bad(k.Unsent, "publishes that could not be sent")
		}
	}
	if r.History != nil {
		r.Faults = append(r.Faults, r.History.Faults("history")...)
	}
	if r.Rows != nil {
		r.Faults = append(r.Faults, r.Rows.Faults("the database")...)
	}
	if r.Hostile != nil {
		r.Faults = append(r.Faults, r.Hostile.Faults...)
	}
}

// Verdict is the result in a line.
func (r *Report) Verdict() string {
	v := "ok"
	if len(r.Faults) > 0 {
		v = "FAILED: " + strings.Join(r.Faults, ", ")
	}
	if len(r.Invalid) > 0 {
		v += "; figures INVALID: " + strings.Join(r.Invalid, ", ")
	}
	return v
}

// Load reads what save wrote.
func Load(file string) (*Report, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if _, err := strictjson.Parse(text); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	r := new(Report)
	if err := json.Unmarshal(text, r); err != nil || r.Run == "" {
		return nil, fmt.Errorf("%s is not a report of loadgen --json", file)
	}
	return r, nil
}

// Save writes the report as JSON.
func (r *Report) Save(file File) error { return file.WriteJSON(r) }
