package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/urfave/cli/v3"
)

// A number means the same in each flag, and in --to: what begins with 0 is no octal number.
func TestNumbersAreDecimal(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	call(t, dir, "", "keygen", "-id", "010").want(t, 0, "10.key: the secret key of server 10,")
	if _, err := os.Lstat(filepath.Join(dir, "8.key")); err == nil {
		t.Error("-id 010 is taken for 8")
	}
	call(t, dir, "", "send", "Config.json", "-id", "0", "--to", "010", "x").want(t, 1, "no entry has the id 10")
	call(t, dir, "", "send", "Config.json", "-id", "010", "--to", "1", "x").want(t, 1, "no entry has the id 10")
	for _, number := range []string{"0x1", "0b1", "0o1", "1_0", "1e1", "1.0"} {
		call(t, dir, "", "keygen", "-id", number).want(t, exitUsage, `--id "`+number+`": want a whole number`)
		call(t, dir, "", "send", "Config.json", "-id", "0", "--to", number, "x").want(t, exitUsage, `--to "`+number+`"`)
	}
	for _, c := range rootCommand(streams{}).Commands {
		for _, f := range c.Flags {
			if n, is := f.(*cli.IntFlag); is && n.Config != decimal {
				t.Errorf("%s --%s: the flag does not read a decimal number", c.Name, n.Name)
			}
		}
	}
}
