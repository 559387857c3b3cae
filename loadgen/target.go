package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hubbub-chat/hubbub/loadgen/check"
	"github.com/hubbub-chat/hubbub/loadgen/report"
	"github.com/hubbub-chat/hubbub/netpoll"
	"github.com/hubbub-chat/hubbub/schema"
)

// engineFlag is what a process's event loops stand on.
type engineFlag struct {
	Engine string `help:"What the event loops stand on: epoll (Linux) or nbio (Linux, macOS, FreeBSD). Default: the first of these that this system has." placeholder:"NAME" env:"LOADGEN_ENGINE" json:"engine"`
}

func (f engineFlag) check() error {
	if err := netpoll.CheckEngine(f.Engine); err != nil {
		return usageError("--engine: " + err.Error())
	}
	return nil
}

// target is what every scenario wants to know: which server, and how to come
// to it.
type target struct {
	URLs        []string      `name:"url" sep:"none" help:"WebSocket address of the server (ws:// only). Given several times: of its nodes; connections take them in turn." default:"ws://127.0.0.1:8000/connection/websocket" json:"urls"`
	Protocol    string        `help:"What is spoken: json or protobuf (Centrifuge, as Hubbub), or plain (every message goes to all of its room as it is; {room} in the address names it) (default ${default})." enum:"json,protobuf,plain" default:"json" json:"protocol"`
	ConnectRate float64       `help:"Connections opened a second (default ${default})." default:"5000" json:"connect_rate"`
	JoinTimeout time.Duration `help:"How long the last connections may take to join their rooms (default ${default})." default:"20s" json:"join_timeout_ns"`
	Loops       int           `help:"Event loops, each on a thread (default ${default})." default:"1" json:"loops"`
	engineFlag
	RoomPrefix string `help:"Rooms are named by it and a number (default: one of this run's own, so that runs do not meet)." json:"room_prefix"`
	ServerPid  int    `help:"Process id of the server on this machine: its CPU and memory come into the report." placeholder:"PID" json:"server_pid"`
	Seed       uint64 `help:"Makes what is drawn by chance the same again (default: another each time)." json:"seed"`
	report.Outputs
}

// config checks the flags and makes a fleet's configuration of them.
func (t *target) config(env environment, l layout, payload check.Sizes) (fleetConfig, error) {
	cfg := fleetConfig{prefix: t.RoomPrefix, layout: l, loops: t.Loops, engine: t.Engine, payload: payload}
	var err error
	if cfg.dialect, err = newDialect(t.Protocol); err != nil {
		return cfg, usageError("--protocol: " + err.Error())
	}
	if err := t.engineFlag.check(); err != nil {
		return cfg, err
	}
	switch {
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
	if t.Seed == 0 {
		t.Seed = rand.Uint64()
	}
	cfg.seed = t.Seed
	if err := checkFiles(l.conns); err != nil {
		return cfg, err
	}
	for _, address := range t.URLs {
		e, _, err := parseURL(address)
		if err != nil {
			return cfg, err
		}
		if t.Protocol == "plain" && l.rooms > 1 && !strings.Contains(e.uri, roomMark) {
			return cfg, usageError(fmt.Sprintf("--url %s: a plain server knows %d rooms by their address alone: put {room} into it, or use one room", address, l.rooms))
		}
	}
	cfg.endpoints, cfg.notes, err = t.endpoints(env)
	return cfg, err
}

// checkPrefix tells whether names made of it are channels, and plain enough to
// be compared with the bytes of a message.
func checkPrefix(prefix string) error {
	if !plain([]byte(prefix)) {
		return schema.ErrBadRequest.Because("room prefix is not plain ASCII")
	}
	for _, c := range []byte(prefix) {
		if c == '"' || c == '<' || c == '>' || c == '&' {
			return schema.ErrBadRequest.Because("room prefix has a character that JSON may escape")
		}
	}
	return schema.CheckChannel(prefix + "1000000")
}
