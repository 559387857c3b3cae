package channels

import (
	"encoding/json"
	"fmt"
	"time"
)

// Options are the rules of a namespace. The JSON names are those of the
// configuration file.
type Options struct {
	Subscribe Who `json:"subscribe"`
	Publish   Who `json:"publish"`
	History   Who `json:"history"`
	Presence  Who `json:"presence"`

	JoinLeave JoinLeave `json:"join_leave"` // who is told of members that come and go

	Ephemeral   bool     `json:"ephemeral"`    // delivered at once and never stored: no history, no recovery
	Recovery    bool     `json:"recovery"`     // a subscription gets what it has missed
	HistorySize int      `json:"history_size"` // messages that can be recovered at most
	HistoryTTL  Duration `json:"history_ttl"`  // and their age
}

// Defaults are the rules without a configuration file: an open chat.
func Defaults() Options {
	return Options{
		Recovery: true, HistorySize: 10_000, HistoryTTL: Duration(24 * time.Hour),
	}
}

func (o *Options) who(a Action) Who {
	switch a {
	case Subscribe:
		return o.Subscribe
	case Publish:
		return o.Publish
	case History:
		return o.History
	case Presence:
		return o.Presence
	}
	return Nobody
}

func (o *Options) check() error {
	switch {
	case o.Subscribe == Subscribers:
		return fmt.Errorf("subscribe: only subscribers may subscribe, so nobody could be the first")
	case o.Subscribe == Off || o.Publish == Off || o.History == Off:
		return fmt.Errorf("off is for presence; take nobody")
	case o.HistorySize < 0 || o.HistorySize > 1_000_000:
		return fmt.Errorf("history_size %d is not between 0 and 1000000", o.HistorySize)
	case o.HistoryTTL < 0:
		return fmt.Errorf("history_ttl %v is negative", time.Duration(o.HistoryTTL))
	case o.Ephemeral && o.Recovery:
		return fmt.Errorf("recovery: an ephemeral namespace keeps nothing to recover")
	}
	return nil
}

// JoinLeave says which members are told of others that come and go. It is
// written as true or false; where it is left out those are told that ask for
// it (join_leave in their subscribe), and in rooms of up to 200 members on a
// node, because that costs n*n pushes when n members come.
type JoinLeave uint8

// The values of JoinLeave.
const (
	ToThoseAsking JoinLeave = iota
	ToAll
	ToNobody
)

// UnmarshalJSON reads true and false.
func (j *JoinLeave) UnmarshalJSON(b []byte) error {
	var all *bool
	switch err := json.Unmarshal(b, &all); {
	case err != nil:
		return fmt.Errorf("is neither true nor false")
	case all == nil:
		*j = ToThoseAsking
	case *all:
		*j = ToAll
	default:
		*j = ToNobody
	}
	return nil
}

// Duration is a time.Duration written as "24h" in JSON.
type Duration time.Duration

// UnmarshalJSON reads a string of time.ParseDuration.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a duration is written as a string like \"24h\"")
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}

// MarshalJSON writes what UnmarshalJSON reads.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }
