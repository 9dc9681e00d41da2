package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/abhishekg16/cluster/internal/transport/sockets"
)

func TestWrongUsageEndsWith2(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	for _, c := range []struct {
		args string
		want string
	}{
		{"", "which command?"},
		{"frobnicate", `there is no command "frobnicate"`},
		{"chekc", `there is no command "chekc": did you mean "check"?`},
		{"--frobnicate", "there is no flag --frobnicate"},
		{"check Config.json --jsn", "there is no flag --jsn (did you mean --json?)"},
		{"listen Config.json -id one", `--id "one": want a whole number`},
		{"listen Config.json -id 1 -n x", `--n "x": want a whole number`},
		{"listen Config.json -id 1 --timeout 5", `--timeout "5": want a time with its unit, such as 5s`},
		{"check Config.json --json=maybe", `--json "maybe": want true or false`},
		{"check", "CONFIG is missing"},
		{"check Config.json --wait 0s", "want more than 0"},
		{"check Config.json --wait soon", `--wait "soon": want a time`},
		{"check Config.json --key-file 0.key", "--key-file needs -id"},
		{"check Config.json -id", "flag needs an argument"},
		{"listen Config.json", "-id is missing"},
		{"listen Config.json -id 0 --count 0", "want at least 1"},
		{"listen Config.json -id 0 --timeout -1s", "want more than 0"},
		{"send Config.json -id 0 hello", "--to is missing"},
		{"send Config.json -id 0 --to some hello", `--to "some"`},
		{"send Config.json -id 0 --to -1 hello", `--to "-1"`},
		{"send Config.json -id 0 --to 1", "TEXT is missing"},
		{"send Config.json -id 0 --to 1 --timeout 0 hello", "timeout"},
		{"ping Config.json -id 0", "--to is missing"},
		{"ping Config.json -id 0 --to 0", "want other servers"},
		{"send Config.json -id 0 --to 1,0 hello", "want other servers"},
		{"ping Config.json -id 0 --to 1,0", "want other servers"},
		{"ping Config.json -id 0 --to some", `--to "some"`},
		{"ping Config.json -id 0 --to 1 --interval -1s", "want 0 or more"},
		{"ping Config.json -id 0 --to 1 --deadline 0s", "want more than 0"},
		{"run Config.json", "-id is missing"},
		{"run Config.json -id 0 --http 9090", "want host:port"},
		{"run Config.json -id 0 --http-public", "--http says where it is"},
		{"top", "URL or CONFIG is missing"},
		{"top http://127.0.0.1:1 --json", "--json needs --once"},
		{"top ftp://127.0.0.1:1 --once", "want the URL of a server's page"},
		{"top 127.0.0.1:1 http://127.0.0.1:1 --once", "stands there twice"},
		{"top 127.0.0.1:1 --interval 0s", "want more than 0"},
		{"top 127.0.0.1:1 --once --wait 0s", "want more than 0"},
		{"keygen Config.json --rotate", "need -id"},
		{"keygen Config.json --drop-previous", "need -id"},
		{"keygen -id 1 --drop-previous", "need the configuration"},
		{"keygen Config.json -id 1 --rotate --drop-previous", "want one of them"},
		{"keygen Config.json --dir keys", "its keyDir says"},
		{"help frobnicate", `there is no command "frobnicate"`},
		{"help check ping", "one argument too many"},
		{"version now", "one argument too many"},
		{"completion", "is missing"},
		{"completion tcsh", `no completion for "tcsh"`},
		{"ping Config.json -id 0 --to 1 -n 0", "want at least 1"},
		{"ping Config.json -id 0 --to 1 --wait 0s", "want more than 0"},
	} {
		t.Run(c.args, func(t *testing.T) {
			got := call(t, dir, "", strings.Fields(c.args)...).want(t, exitUsage)
			if got.out != "" || !strings.HasPrefix(got.err, "cluster: ") || !strings.Contains(got.err, c.want) || goWords.MatchString(got.err) {
				t.Errorf("standard output: %q, standard error: %q, want %q in that", got.out, got.err, c.want)
			}
		})
	}
}

// goWords are those of Go's packages, which mean nothing to who calls the program.
var goWords = regexp.MustCompile(`strconv|time:|context|flag provided`)

var commands = []string{"keygen", "check", "ping", "listen", "send", "run", "top", "completion", "version", "help"}

func TestEachCommandHasHelpWithExamples(t *testing.T) {
	t.Parallel()
	for _, command := range commands {
		got := call(t, t.TempDir(), "", command, "--help").want(t, 0, "cluster "+command, "Examples:", "--help")
		if !strings.Contains(got.out, "Examples:") {
			t.Errorf("the help of %s is not on standard output", command)
		}
		if same := call(t, t.TempDir(), "", "help", command).want(t, 0); same.out != got.out {
			t.Errorf("help %s prints something else than %s --help:\n%s", command, command, same.out)
		}
		call(t, t.TempDir(), "", "--help").want(t, 0, command+" ")
	}
	root := call(t, t.TempDir(), "", "--help").want(t, 0, "Exit codes:")
	for _, code := range []string{"   0  all was well", "   1  something", "   2  the command", " 129  SIGHUP", " 130  SIGINT", " 143  SIGTERM"} {
		root.want(t, 0, code)
	}
	if same := call(t, t.TempDir(), "", "help").want(t, 0); same.out != root.out {
		t.Errorf("help prints something else than --help:\n%s", same.out)
	}
}

func TestTheVersionIsToldInEachWayThatPeopleAskFor(t *testing.T) {
	t.Parallel()
	flag := call(t, t.TempDir(), "", "--version").want(t, 0, "cluster version ", "wire format 1", "transport "+sockets.Default)
	if command := call(t, t.TempDir(), "", "version").want(t, 0); command.out != flag.out {
		t.Errorf("version prints %q, and --version %q", command.out, flag.out)
	}
	call(t, t.TempDir(), "", "version", "--json").want(t, 0, `"wire_format": 1`, `"transport": "`+sockets.Default+`"`)
}

func TestOutputThatCannotBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this machine has no /dev/full:", err)
	}
	defer full.Close()
	dir, _ := configured(t, 2)
	for _, args := range [][]string{
		{"--help"}, {"help", "send"}, {"--version"}, {"version", "--json"}, {"completion", "zsh"},
		{"check", "Config.json"}, {"check", "Config.json", "--json"}, {"keygen", "-id", "7"}, {"keygen", "-id", "8", "--json"},
		{"ping", "Config.json", "-id", "0", "--to", "1", "-n", "1", "--wait", "1ms"},
	} {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir, cmd.Stdout = dir, full
		var errs strings.Builder
		cmd.Stderr = &errs
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitFailed || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("cluster %s with a full disk ends with %v and says %q, want 1 and one line", strings.Join(args, " "), err, errs.String())
		}
	}
}
