package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"
)

// target is what every scenario wants to know: which server, and how to come
// to it.
type target struct {
	URL         string        `help:"WebSocket address of the server (ws:// only)." default:"ws://127.0.0.1:8000/connection/websocket" json:"url"`
	ConnectRate float64       `help:"Connections opened a second (default ${default})." default:"5000" json:"connect_rate"`
	JoinTimeout time.Duration `help:"How long the last connections may take to join their rooms (default ${default})." default:"20s" json:"join_timeout_ns"`
	Loops       int           `help:"Event loops, each on a thread (default ${default})." default:"1" json:"loops"`
	RoomPrefix  string        `help:"Rooms are named by it and a number (default: one of this run's own, so that runs do not meet)." json:"room_prefix"`
	ServerPid   int           `help:"Process id of the server on this machine: its CPU and memory come into the report." placeholder:"PID" json:"server_pid"`
	JSON        string        `help:"Write the report to this file too, as JSON." placeholder:"FILE" name:"json" json:"-"`
}

// config checks the flags and makes a fleet's configuration of them.
func (t *target) config(l layout, payload int) (fleetConfig, error) {
	cfg := fleetConfig{prefix: t.RoomPrefix, layout: l, loops: t.Loops, payload: payload}
	u, err := url.Parse(t.URL)
	switch {
	case err != nil:
		return cfg, usageError(fmt.Sprintf("--url: %v", err))
	case u.Scheme != "ws" || u.Hostname() == "":
		return cfg, usageError(fmt.Sprintf("--url %s: want ws://HOST:PORT/PATH", t.URL))
	case t.ConnectRate <= 0:
		return cfg, usageError("--connect-rate must be above 0")
	case t.Loops < 1 || t.Loops > 64:
		return cfg, usageError("--loops must be from 1 to 64")
	case t.ServerPid < 0:
		return cfg, usageError("--server-pid must be above 0")
	case t.RoomPrefix != "" && checkPrefix(t.RoomPrefix) != nil:
		return cfg, usageError("--room-prefix: " + checkPrefix(t.RoomPrefix).Error())
	case l.conns < 1:
		return cfg, usageError("--connections must be above 0")
	}
	if cfg.uri = u.RequestURI(); u.Path == "" {
		cfg.uri = "/" + cfg.uri
	}
	if err := checkFiles(l.conns); err != nil {
		return cfg, err
	}
	cfg.addr, err = resolve(u)
	return cfg, err
}

func resolve(u *url.URL) (netip.AddrPort, error) {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.ParseAddrPort(net.JoinHostPort(ips[0].Unmap().String(), port))
}
