package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hubbub-chat/hubbub/internal/backends"
)

// commandsOn are the commands that use a database, with its DSN. The broker is
// nobody: the database is looked at before.
func commandsOn(t *testing.T, dsn string) map[string][]string {
	return map[string][]string{
		"serve":   {"serve", "--addr=127.0.0.1:0", "--data=" + t.TempDir(), "--mysql=" + dsn},
		"sink":    {"sink", "--addr=127.0.0.1:0", "--kafka=127.0.0.1:1", "--mysql=" + dsn},
		"migrate": {"migrate", "--mysql=" + dsn},
	}
}

// refusal is what a command says that cannot start: one line and exit code 1.
func refusal(t *testing.T, args []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := childCommand(ctx, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	line, more, ended := strings.Cut(said.String(), "\n")
	if code := cmd.ProcessState.ExitCode(); code != 1 || !ended || more != "" || out.Len() > 0 {
		t.Errorf("exit code %d (%v), and it said %q and %q, want 1 and one line", code, err, said.String(), out.String())
	}
	if strings.Contains(said.String(), "sesame") {
		t.Errorf("it tells the password: %s", said.String())
	}
	return line
}

// Whoever may not do what Hubbub needs, or asks a server that cannot, is told
// in one line what is missing, by every command and after few connections.
// `hubbub migrate` has nothing to say where there is nothing to do.
func TestMySQLRefusals(t *testing.T) {
	server := backends.OwnMySQL(t)
	db, err := sql.Open("mysql", server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	exec := func(statements ...string) {
		t.Helper()
		for _, s := range statements {
			if _, err := db.Exec(s); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
	}
	connections := func() (n int) {
		if err := db.QueryRow(`SHOW GLOBAL STATUS LIKE 'Connections'`).Scan(new(string), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	exec(`CREATE DATABASE blank`)
	if out, err := childCommand(t.Context(), "migrate", "--mysql="+server.DSN).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const needs = "the user needs SELECT, INSERT, UPDATE and DELETE"
	for i, c := range []struct{ name, rights, database, readOnly, want, advice string }{
		{"no right", "", "hubbub", "", "Access denied for user 'u0'@'%' to database 'hubbub'", needs},
		{"no CREATE", "SELECT, INSERT, UPDATE, DELETE", "blank", "", "CREATE command denied", needs},
		{"no SELECT", "INSERT, UPDATE, DELETE", "hubbub", "", "SELECT command denied", needs},
		{"no INSERT", "SELECT, UPDATE, DELETE", "hubbub", "", "INSERT command denied", needs},
		{"no UPDATE", "SELECT, INSERT, DELETE", "hubbub", "", "UPDATE command denied", needs},
		{"no DELETE", "SELECT, INSERT, UPDATE", "hubbub", "", "DELETE command denied", needs},
		{"read-only", "ALL", "hubbub", "read_only", "read-only", "this server only reads"},
		{"read-only and empty", "ALL", "blank", "read_only", "read-only", "this server only reads"},
	} {
		t.Run(c.name, func(t *testing.T) {
			user := fmt.Sprintf("'u%d'@'%%'", i)
			exec(`CREATE USER ` + user + ` IDENTIFIED BY 'sesame'`)
			if c.rights != "" {
				exec(`GRANT ` + c.rights + ` ON ` + c.database + `.* TO ` + user)
			}
			if c.readOnly != "" {
				exec(`SET GLOBAL ` + c.readOnly + ` = 1`)
				defer exec(`SET GLOBAL ` + c.readOnly + ` = 0`)
			}
			for name, args := range commandsOn(t, fmt.Sprintf("u%d:sesame@tcp(%s)/%s", i, server.Addr, c.database)) {
				if name == "migrate" && c.database == "hubbub" && c.name != "no right" && c.name != "no SELECT" {
					if out, err := childCommand(t.Context(), args...).Output(); err != nil || !strings.Contains(string(out), "up to date") {
						t.Errorf("migrate: %v, %s", err, out)
					}
					continue
				}
				before := connections()
				line := refusal(t, args)
				if !strings.HasPrefix(line, "hubbub: --mysql: database "+c.database+" at "+server.Addr+": ") ||
					!strings.Contains(line, c.want) || !strings.Contains(line, c.advice) {
					t.Errorf("%s says %s", name, line)
				}
				if n := connections() - before; n > 6 { // one that asks, three that look at the tables, one that writes
					t.Errorf("%s opened %d connections", name, n)
				}
			}
		})
	}
}
