package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster"
)

// shells are the scripts that make a shell ask this program what may come next.
//
//go:embed shells
var shells embed.FS

// completeCommand is what the scripts call: its arguments are the shell, and the words of
// the command line behind the program's name up to the one that is being written, which
// may be empty. It prints "files", "directories" or "words", which is what else the shell
// should offer, and then a candidate on each line, with a tab and its description.
const completeCommand = "__complete"

func completionCommand(s streams) *cli.Command {
	names := map[string]string{"bash": "cluster.bash", "zsh": "cluster.zsh", "fish": "cluster.fish"}
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a script that completes commands, flags and servers in a shell",
		UsageText: "cluster completion bash|zsh|fish",
		Description: `Load it in the shell's own start-up file:

   bash, in ~/.bashrc:                   source <(cluster completion bash)
   zsh, in ~/.zshrc, behind compinit:    source <(cluster completion zsh)
   fish, in ~/.config/fish/config.fish:  cluster completion fish | source

Then TAB completes commands, flags, files, and the ids of the servers that the
configuration on the command line has.

Examples:
   source <(cluster completion bash)`,
		Action: func(_ context.Context, c *cli.Command) error {
			args, err := arguments(c, "the shell (bash, zsh or fish)")
			if err != nil {
				return err
			}
			file, ok := names[args[0]]
			if !ok {
				return usageError("there is no completion for %q: want bash, zsh or fish", args[0])
			}
			text, err := shells.ReadFile("shells/" + file)
			if err != nil {
				return err
			}
			_, err = s.out.Write(text)
			return err
		},
	}
}

// A suggestion is what may come next.
type suggestion struct {
	also  string // files, directories or words
	words []candidate
}

type candidate struct{ word, about string }

const (
	alsoWords       = "words"
	alsoFiles       = "files"
	alsoDirectories = "directories"
)

// complete prints what may come next on the command line.
func complete(w io.Writer, root *cli.Command, args []string) error {
	if len(args) < 2 {
		return usageError("%s is for the scripts that cluster completion prints", completeCommand)
	}
	words, prefix := args[1:], ""
	if args[0] == "bash" {
		words = bashWords(words)
	}
	last := words[len(words)-1]
	// The value of a flag that is joined to it by = has that before it. For bash the value
	// is a word of its own.
	if name, value, ok := strings.Cut(last, "="); ok && strings.HasPrefix(last, "-") {
		words = append(slices.Clone(words[:len(words)-1]), name, value)
		if args[0] != "bash" {
			prefix = name + "="
		}
	}
	s := suggest(root, words)
	fmt.Fprintln(w, s.also)
	for _, c := range s.words {
		if strings.HasPrefix(c.word, words[len(words)-1]) {
			fmt.Fprintf(w, "%s%s\t%s\n", prefix, c.word, c.about)
		}
	}
	return nil
}

// suggest returns what may stand in the place of the last of words.
func suggest(root *cli.Command, words []string) suggestion {
	last := words[len(words)-1]
	if len(words) == 1 {
		if strings.HasPrefix(last, "-") {
			return suggestion{alsoWords, []candidate{{"--help", "show help"}, {"--version", "print the version"}}}
		}
		return suggestion{alsoWords, commandNames(root)}
	}
	c := root.Command(words[0])
	if c == nil {
		return suggestion{also: alsoWords}
	}
	if c.Name == "help" || c.Name == "completion" {
		return wordOf(root, c, words)
	}
	line := parseLine(c, words[1:len(words)-1])
	switch {
	case line.open != nil:
		return flagValue(c, line, last)
	case strings.HasPrefix(last, "-") && !line.flagsEnded:
		return suggestion{alsoWords, flagNames(c, last)}
	case len(line.args) == 0 && c.Name != "version", c.Name == "top":
		return suggestion{also: alsoFiles} // the configuration
	}
	return suggestion{also: alsoWords}
}

// wordOf is for the commands that take one word of a few.
func wordOf(root, c *cli.Command, words []string) suggestion {
	switch {
	case len(words) != 2:
		return suggestion{also: alsoWords}
	case c.Name == "help":
		return suggestion{alsoWords, commandNames(root)}
	}
	return suggestion{alsoWords, []candidate{{"bash", "for bash"}, {"fish", "for fish"}, {"zsh", "for zsh"}}}
}

func commandNames(root *cli.Command) (names []candidate) {
	for _, c := range root.Commands {
		names = append(names, candidate{c.Name, c.Usage})
	}
	return names
}

// flagNames are the flags of a command, with as many dashes as were written.
func flagNames(c *cli.Command, written string) (names []candidate) {
	dashes := "--"
	if !strings.HasPrefix(written, "--") && len(written) > 1 {
		dashes = "-"
	}
	for _, f := range c.Flags {
		about := ""
		if d, ok := f.(cli.DocGenerationFlag); ok {
			about = strings.ReplaceAll(d.GetUsage(), "`", "")
		}
		names = append(names, candidate{dashes + f.Names()[0], about})
	}
	return append(names, candidate{dashes + "help", "show help"})
}

// A commandLine is what stands before the word that is being written.
type commandLine struct {
	args       []string
	open       cli.Flag // the flag whose value comes next, or nil
	flagsEnded bool     // by --
}

func parseLine(c *cli.Command, words []string) (line commandLine) {
	for _, w := range words {
		switch {
		case line.open != nil:
			line.open = nil
		case line.flagsEnded || !strings.HasPrefix(w, "-") || w == "-":
			line.args = append(line.args, w)
		case w == "--":
			line.flagsEnded = true
		default:
			line.open = valueFlag(c, strings.TrimLeft(w, "-"))
		}
	}
	return line
}

// valueFlag returns the flag of that name if it takes a value.
func valueFlag(c *cli.Command, name string) cli.Flag {
	for _, f := range c.Flags {
		if _, isBool := f.(*cli.BoolFlag); !isBool && slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// flagValue suggests the value of a flag.
func flagValue(c *cli.Command, line commandLine, written string) suggestion {
	switch name := line.open.Names()[0]; name {
	case "key-file":
		return suggestion{also: alsoFiles}
	case "dir":
		return suggestion{also: alsoDirectories}
	case "id", "to":
		if len(line.args) == 0 {
			break
		}
		ids := serverIDs(line.args[0])
		if name == "to" {
			ids = destinationWords(ids, written)
		}
		return suggestion{alsoWords, ids}
	}
	return suggestion{also: alsoWords}
}

// serverIDs are the servers of a configuration, as far as it can be read.
func serverIDs(path string) (ids []candidate) {
	cfg, err := cluster.LoadConfig(path)
	if err != nil {
		cfg = salvage(path)
	}
	for _, p := range cfg.Peers {
		ids = append(ids, candidate{fmt.Sprint(p.ID), p.Address})
	}
	return ids
}

// destinationWords adds each id to those that are written already with commas.
func destinationWords(ids []candidate, written string) (words []candidate) {
	i := strings.LastIndexByte(written, ',') + 1
	if i == 0 {
		words = append(words, candidate{"all", "all other servers"})
	}
	for _, id := range ids {
		words = append(words, candidate{written[:i] + id.word, id.about})
	}
	return words
}

// bashWords undoes what bash has done to the words: it splits them at = and leaves them
// quoted.
func bashWords(words []string) (whole []string) {
	joining := false // the value that is to be joined to its flag comes next
	for _, w := range words {
		n := len(whole)
		switch {
		case joining:
			whole[n-1] += unquote(w)
			joining = false
		case n > 0 && w == "=" && strings.HasPrefix(whole[n-1], "-"):
			whole[n-1] += "="
			joining = true
		default:
			whole = append(whole, unquote(w))
		}
	}
	return whole
}

// unquote takes the quotes and backslashes out of a word.
func unquote(word string) string {
	var b strings.Builder
	var quote byte
	for i := 0; i < len(word); i++ {
		c := word[i]
		switch {
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(word):
			i++
			b.WriteByte(word[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
