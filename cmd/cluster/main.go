// Cluster makes the keys of a cluster's servers, checks their configuration, tries the
// servers from a shell, runs one, and shows what they do:
//
//	cluster keygen Config.json
//	cluster check Config.json
//	cluster ping Config.json -id 0 --to 1
//	cluster listen Config.json -id 1
//	cluster send Config.json -id 0 --to 1 "hello"
//	cluster run Config.json -id 0 --http 127.0.0.1:9090
//	cluster top Config.json
//
// Each explains itself with --help. The exit codes are in exit.go.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster/internal/transport/sockets"
	"github.com/abhishekg16/cluster/internal/wire"
)

func main() {
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	os.Exit(untilSignal(endings(name), func(ctx context.Context) int {
		return run(ctx, os.Args, streams{os.Stdin, os.Stdout, os.Stderr})
	}))
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	out := &checkedWriter{w: s.out}
	s.out = out
	root := rootCommand(s)
	var err error
	if len(args) > 1 && args[1] == completeCommand {
		err = complete(s.out, root, args[2:])
	} else {
		err = root.Run(ctx, args)
	}
	if err == nil && out.err != nil {
		err = fmt.Errorf("writing to standard output: %w", out.err)
	}
	return conclude(ctx, s.err, err)
}

func rootCommand(s streams) *cli.Command {
	root := &cli.Command{
		Name:    "cluster",
		Usage:   "make the keys of a cluster's servers, check its configuration, try, run and watch its servers",
		Version: version(),
		Description: `Every command has --help, and those that print results have --json. The flags of a command
may stand before or after its arguments, with one dash or with two.

` + exitCodes,
		Commands: []*cli.Command{
			keygenCommand(s), checkCommand(s), pingCommand(s), listenCommand(s), sendCommand(s),
			runCommand(s), topCommand(s), completionCommand(s), versionCommand(s), helpCommand(),
		},
		HideHelpCommand: true, // this program has its own
		Writer:          s.out,
		ErrWriter:       s.err,
		ExitErrHandler:  func(context.Context, *cli.Command, error) {}, // conclude reports errors
		Action: func(_ context.Context, c *cli.Command) error {
			if !c.Args().Present() {
				return usageError("which command? keygen, check, ping, listen, send, run or top: see cluster --help")
			}
			return unknownCommand(c, c.Args().First())
		},
	}
	for _, c := range append(root.Commands, root) {
		c.OnUsageError = func(_ context.Context, c *cli.Command, err error, _ bool) error {
			return usageError("%s: see %s --help", plainly(c, err), c.FullName())
		}
	}
	return root
}

func unknownCommand(root *cli.Command, name string) error {
	hint := "see cluster --help"
	if near := cli.SuggestCommand(root.Commands, name); near != "" && name != "" && near[0] == name[0] {
		hint = fmt.Sprintf("did you mean %q? See cluster --help", near)
	}
	return usageError("there is no command %q: %s", name, hint)
}

func helpCommand() *cli.Command {
	return &cli.Command{
		Name:      "help",
		Usage:     "explain a command",
		UsageText: "cluster help [COMMAND]",
		Description: `Prints what --help after the command prints.

Examples:
   cluster help
   cluster help keygen`,
		Action: func(ctx context.Context, c *cli.Command) error {
			switch c.NArg() {
			case 0:
				return cli.ShowRootCommandHelp(c.Root())
			case 1:
				if name := c.Args().First(); c.Root().Command(name) == nil {
					return unknownCommand(c.Root(), name)
				}
				return cli.ShowCommandHelp(ctx, c.Root(), c.Args().First())
			}
			_, err := arguments(c, "COMMAND")
			return err
		},
	}
}

func versionCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "version",
		Usage:     "say what this program was built from",
		UsageText: "cluster version [--json]",
		Description: `Prints the version of this program, the version of the wire format that its servers speak,
the transport that they have unless the configuration or CLUSTER_TRANSPORT names another (libzmq or
go), and the version of Go. Servers understand one another if they speak the same wire format.

Examples:
   cluster version
   cluster version --json | jq .wire_format`,
		Flags: []cli.Flag{jsonFlag()},
		Action: func(_ context.Context, c *cli.Command) error {
			if _, err := arguments(c); err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(s.out, struct {
					Version    string `json:"version"`
					WireFormat int    `json:"wire_format"`
					Transport  string `json:"transport"`
					Go         string `json:"go"`
				}{buildVersion(), wire.Version, sockets.Default, runtime.Version()})
			}
			_, err := fmt.Fprintln(s.out, "cluster version", version())
			return err
		},
	}
}

func version() string {
	return fmt.Sprintf("%s, wire format %d, transport %s, %s", buildVersion(), wire.Version, sockets.Default, runtime.Version())
}

func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
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

// printJSON prints one value on several lines.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// A checkedWriter remembers the first error of w, so that not every print has to look.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	if c.err == nil {
		c.err = err
	}
	return n, err
}
