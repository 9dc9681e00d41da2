// Cluster makes the keys of a cluster's servers, checks their configuration, and tries
// the servers from a shell:
//
//	cluster keygen Config.json
//	cluster check Config.json
//	cluster ping Config.json -id 0 --to 1
//	cluster listen Config.json -id 1
//	cluster send Config.json -id 0 --to 1 "hello"
//
// Each explains itself with --help. It ends with 0 if all was well, with 1 if not, and
// with 2 if it was not called as it should be.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster/internal/wire"
)

// The exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program as it is
	os.Exit(run(ctx, os.Args, streams{os.Stdin, os.Stdout, os.Stderr}))
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	root := &cli.Command{
		Name:    "cluster",
		Usage:   "make the keys of a cluster's servers, check its configuration, and try its servers",
		Version: version(),
		Description: "Exit codes: 0 all was well, 1 something was not, 2 wrong usage.\n" +
			"The flags of a command may stand before or after its arguments, with one dash or with two.",
		Commands:        []*cli.Command{keygenCommand(s), checkCommand(s), pingCommand(s), listenCommand(s), sendCommand(s)},
		HideHelpCommand: true,
		Writer:          s.out,
		ErrWriter:       s.err,
		ExitErrHandler:  func(context.Context, *cli.Command, error) {}, // errors are reported below
		Action: func(_ context.Context, c *cli.Command) error {
			if !c.Args().Present() {
				return usageError("which command? See cluster --help")
			}
			return usageError("there is no command %q: see cluster --help", c.Args().First())
		},
	}
	for _, c := range append(root.Commands, root) {
		c.OnUsageError = func(_ context.Context, c *cli.Command, err error, _ bool) error {
			return usageError("%w: see %s --help", err, c.FullName())
		}
	}
	err := root.Run(ctx, args)
	var wrong *usage
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrong):
		fmt.Fprintln(s.err, reported(err))
		return exitUsage
	case !errors.Is(err, errReported):
		fmt.Fprintln(s.err, reported(err))
	}
	return exitFailed
}

// errReported is returned by a command that has said already what is wrong.
var errReported = errors.New("reported already")

// A usage is the error of a command that was not called as it should be.
type usage struct{ error }

func (u *usage) Unwrap() error { return u.error }

func usageError(format string, args ...any) error { return &usage{fmt.Errorf(format, args...)} }

// reported prefixes an error with the program's name, unless it has it.
func reported(err error) string {
	if text := err.Error(); strings.HasPrefix(text, "cluster: ") {
		return text
	}
	return "cluster: " + err.Error()
}

// arguments returns those of the command, of which there must be as many as names.
func arguments(c *cli.Command, names ...string) ([]string, error) {
	args := c.Args().Slice()
	if len(args) < len(names) {
		return nil, usageError("%s is missing: see %s --help", names[len(args)], c.FullName())
	}
	if len(args) > len(names) {
		return nil, usageError("%q is one argument too many: see %s --help", args[len(names)], c.FullName())
	}
	return args, nil
}

// version says what this program was built from.
func version() string {
	v := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return fmt.Sprintf("%s, wire format %d, %s", v, wire.Version, runtime.Version())
}
