package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// report is what is left of a run: for people as a table, for programs as
// JSON. Times are seconds or, where their name says so, microseconds.
type report struct {
	Scenario string    `json:"scenario"`
	Run      string    `json:"run"`
	Began    time.Time `json:"began"`
	Setup    any       `json:"setup"` // the flags

	Interrupted bool `json:"interrupted"`

	Connections connections  `json:"connections"`
	History     *historyPart `json:"history,omitempty"`
	Rows        *kept        `json:"rows,omitempty"` // of the database
	Messages    *messages    `json:"messages,omitempty"`
	Phases      []phasePart  `json:"phases,omitempty"`
	Check       *check       `json:"check,omitempty"`
	Density     *densityPart `json:"density,omitempty"`
	Slow        *slowPart    `json:"slow,omitempty"`
	Hostile     *hostilePart `json:"hostile,omitempty"`
	FindMax     *findPart    `json:"find_max,omitempty"`
	Tool        tool         `json:"tool"`
	Server      *server      `json:"server,omitempty"`

	Curves   []curve  `json:"curves,omitempty"`
	Timeline []second `json:"timeline,omitempty"`

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

	TCP       quantiles `json:"tcp"`
	Handshake quantiles `json:"handshake"`
	Connect   quantiles `json:"connect"`
	Subscribe quantiles `json:"subscribe"`
	Recovery  quantiles `json:"recovery"`
	Away      quantiles `json:"away"`
	Refresh   quantiles `json:"refresh"` // of tokens
	Errors    codes     `json:"errors"`
	Closes    codes     `json:"closes"`
	Unsubs    codes     `json:"unsubscribed"`
	DialError string    `json:"dial_error,omitempty"`
}

// codes are numbers of things by code. JSON wants strings for keys.
type codes map[string]uint64

func newCodes(m map[uint32]uint64) codes {
	c := codes{}
	for code, n := range m {
		c[strconv.FormatUint(uint64(code), 10)] = n
	}
	return c
}

// phasePart is one phase's part of a report.
type phasePart struct {
	Name     string  `json:"name"`
	Measured bool    `json:"measured"`
	From     float64 `json:"rate_from"`
	To       float64 `json:"rate_to"`
	messages
}

// messages are rates over the measured time, behind the warm-up and before
// the drain, and latencies of what was due in it.
type messages struct {
	Seconds         float64   `json:"seconds"`
	SentRate        float64   `json:"sent_per_s"`
	AckedRate       float64   `json:"acked_per_s"`
	DeliveredRate   float64   `json:"delivered_per_s"`
	BytesRate       float64   `json:"received_bytes_per_s"`
	Payload         float64   `json:"payload_bytes,omitempty"` // of a message's data, on average
	Unsent          uint64    `json:"unsent"`
	Late            uint64    `json:"sent_late"`
	Ack             quantiles `json:"ack"`
	AckService      quantiles `json:"ack_service"`
	Delivery        quantiles `json:"delivery"`
	DeliveryService quantiles `json:"delivery_service"`
	SendError       quantiles `json:"send_error"`  // how much later than intended messages were written
	Last            quantiles `json:"last_member"` // until the last member of the room has it
	Recovered       quantiles `json:"recovered"`   // of what was due while its member was away
}

// newMessages puts two counts in relation. t may follow later.
func newMessages(from, to *snapshot, t *times) *messages {
	seconds := max(float64(to.at-from.at)/1e9, 1e-9)
	per := func(to, from uint64) float64 { return float64(to-from) / seconds }
	m := &messages{
		Seconds: seconds, SentRate: per(to.Sent, from.Sent), AckedRate: per(to.Acked, from.Acked),
		DeliveredRate: per(to.Delivered, from.Delivered), BytesRate: per(to.bytesIn, from.bytesIn),
		Unsent: to.Unsent - from.Unsent, Late: to.Late - from.Late,
	}
	if t != nil {
		m.times(t)
	}
	return m
}

// times fills in the latencies.
func (m *messages) times(t *times) {
	m.Ack, m.AckService = t.ack.quantiles(), t.ackService.quantiles()
	m.Delivery, m.DeliveryService = t.delivery.quantiles(), t.deliveryService.quantiles()
	m.SendError = t.sendError.quantiles()
	m.Last, m.Recovered = t.last.quantiles(), t.recovered.quantiles()
}

// check is whether it was right, over the whole run.
type check struct {
	counts
	Lost       uint64 `json:"lost"` // deliveries missing after the drain
	Unanswered uint64 `json:"unanswered"`
	Away       uint64 `json:"away"` // members that had not come back at the end
	MayRefuse  bool   `json:"may_refuse_recovery"`
	ComesBack  bool   `json:"comes_back"` // whether clients do, when their connection ends
	Sample     int    `json:"sample"`     // order was checked on one connection in this many
}

// tool is what the load generator itself used, over its whole life.
type tool struct {
	CPU     float64   `json:"cpu_s"`
	Seconds float64   `json:"seconds"`
	Loops   int       `json:"loops"`
	Workers int       `json:"workers,omitempty"` // processes, where there were several
	Lag     quantiles `json:"lag"`               // of the event loops' turns
	RSS     int64     `json:"rss_bytes"`
	RSSAnon int64     `json:"rss_anon_bytes"`
}

// server is what the server's process used.
type server struct {
	ConnectCPU    float64 `json:"connect_cpu_s"`
	PerConnect    float64 `json:"cpu_us_per_connect"`
	MeasuredCPU   float64 `json:"measured_cpu_s"`
	PerCPUSecond  float64 `json:"deliveries_per_cpu_s"`
	CPUPercent    float64 `json:"measured_cpu_percent"` // of one core
	RSS           int64   `json:"rss_bytes"`
	RSSAnon       int64   `json:"rss_anon_bytes"`
	RSSAnonBefore int64   `json:"rss_anon_before_bytes"`
}

// judge writes down every reason for exit code 1.
func (r *report) judge() {
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
	bad(uint64(c.Wanted)-min(uint64(c.Wanted), c.Joined), "connections never joined")
	k := r.Check
	if k == nil || !k.ComesBack {
		bad(c.Closed, "connections ended by the server")
	}
	if k != nil {
		bad(k.Lost, "deliveries lost")
		bad(k.Duplicated, "deliveries duplicated")
		bad(k.Reordered, "deliveries out of order")
		bad(k.Unexpected, "unexpected messages")
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
		r.Faults = append(r.Faults, r.History.faults("history")...)
	}
	if r.Rows != nil {
		r.Faults = append(r.Faults, r.Rows.faults("the database")...)
	}
	if r.Slow != nil {
		r.Faults = append(r.Faults, r.Slow.faults()...)
	}
	if r.Hostile != nil {
		r.Faults = append(r.Faults, r.Hostile.Faults...)
	}
}

// verdict is the result in a line.
func (r *report) verdict() string {
	v := "ok"
	if len(r.Faults) > 0 {
		v = "FAILED: " + strings.Join(r.Faults, ", ")
	}
	if len(r.Invalid) > 0 {
		v += "; figures INVALID: " + strings.Join(r.Invalid, ", ")
	}
	return v
}

// load reads what save wrote.
func load(file string) (*report, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(report)
	if err := json.Unmarshal(text, r); err != nil || r.Run == "" {
		return nil, fmt.Errorf("%s is not a report of loadgen --json", file)
	}
	return r, nil
}

// save writes the report as JSON.
func (r *report) save(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
