// Command vtcombo is Vitess' own program of that name, which alone lets everybody in
// with any password, and its vtgate's plug-in for users with passwords.
package main

import (
	"fmt"
	"os"

	"vitess.io/vitess/go/cmd/vtcombo/cli"
	"vitess.io/vitess/go/exit"
	"vitess.io/vitess/go/mysql"
	"vitess.io/vitess/go/vt/utils"
	"vitess.io/vitess/go/vt/vtgate"
)

func main() {
	defer exit.Recover()
	var users string
	utils.SetFlagStringVar(cli.Main.Flags(), &users, "mysql-auth-server-static-string", "", "JSON of the users and their passwords.")
	vtgate.RegisterPluginInitializer(func() { mysql.InitAuthServerStatic("", users, 0) })
	cli.Main.SetGlobalNormalizationFunc(utils.NormalizeUnderscoresToDashes)
	if err := cli.Main.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		exit.Return(1)
	}
}
