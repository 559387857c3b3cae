package sink

import (
	"testing"

	"github.com/go-sql-driver/mysql"
)

// On Vitess a name can ask for a replica or for one shard; elsewhere it is a
// name.
func TestCheckTarget(t *testing.T) {
	for name, works := range map[string]bool{
		"hubbub": true, "hubbub@primary": true, "hubbub@PRIMARY": true, "@primary": true, "hubbub@master": true,
		"hubbub@replica": false, "hubbub@rdonly": false, "@replica": false, "hubbub:-80": false, "hubbub/80-": false, "hubbub:-80@primary": false,
	} {
		dsn := &mysql.Config{DBName: name}
		if err := (mysqlServer{vitess: true}).checkTarget(dsn); (err == nil) != works {
			t.Errorf("%s on Vitess: %v", name, err)
		}
		if err := (mysqlServer{}).checkTarget(dsn); err != nil {
			t.Errorf("%s on MySQL: %v", name, err)
		}
	}
}
