package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/shell"
)

// A step is something for the user to do.
type step struct {
	Text     string   `json:"text"`
	Commands []string `json:"commands,omitempty"` // for a POSIX shell, as they stand
}

// commandIndent is what each command stands behind where steps are printed.
const commandIndent = "       "

func printSteps(w io.Writer, steps []step) {
	fmt.Fprintln(w, plural(len(steps), "\nNext:", "\nNext, in this order:"))
	for i, s := range steps {
		fmt.Fprintf(w, "  %d. %s\n", i+1, strings.ReplaceAll(s.Text, "\n", "\n     "))
		for _, c := range s.Commands {
			fmt.Fprintln(w, commandIndent+c)
		}
	}
}

// operand is a path that no command takes for a flag, nor scp for another machine's.
func operand(path string) string {
	if before, _, _ := strings.Cut(path, "/"); strings.HasPrefix(path, "-") || strings.Contains(before, ":") {
		return "./" + path
	}
	return path
}

// sites is where the servers of a configuration are, as far as their addresses tell.
type sites struct {
	file   *configFile
	hosts  map[int]string // of the servers that are on other machines
	remote []string       // those hosts, each once, in the order of the configuration
}

func newSites(file *configFile, cfg cluster.Config) sites {
	s := sites{file: file, hosts: make(map[int]string)}
	local := localIPs()
	own, _ := os.Hostname() // without it, this machine's name is another's
	for _, p := range cfg.Peers {
		host := otherHost(p, local, own)
		if host == "" {
			continue
		}
		s.hosts[p.ID] = host
		if !slices.Contains(s.remote, host) {
			s.remote = append(s.remote, host)
		}
	}
	return s
}

// otherHost returns the host of a server that is on another machine, or "". It looks up no
// names.
func otherHost(p peer, local []netip.Addr, own string) string {
	scheme, address := splitEndpoint(p.DialEndpoint())
	host, _, err := net.SplitHostPort(address)
	if scheme != "tcp" || err != nil || host == "localhost" || strings.EqualFold(host, own) {
		return ""
	}
	if ip, err := netip.ParseAddr(host); err == nil && isLocal(ip, local) {
		return ""
	}
	return host
}

// copyTo is the command that copies a file into a directory, or to a file, of a host. The
// directory ends with a slash. scp keeps the mode of the file.
func copyTo(from, host, to string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return shell.Command("scp", "-p", operand(from), host+":"+to)
}

// directory is a local directory as others are taken to have it: by its full path, with a
// slash at its end.
func directory(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		path = full
	}
	return strings.TrimSuffix(path, "/") + "/"
}

func (s sites) configDir() string { return directory(filepath.Dir(s.file.path)) }

// copyConfig are the commands that give the configuration to the other machines.
func (s sites) copyConfig() (commands []string) {
	for _, host := range s.remote {
		commands = append(commands, copyTo(s.file.path, host, s.configDir()))
	}
	return commands
}

// moveKey are the commands that give a server its key, as a file of that path there, and
// delete it here; none if the server is here.
func (s sites) moveKey(id int, key, there string) (commands []string) {
	host, ok := s.hosts[id]
	if !ok {
		return nil
	}
	if dir := directory(filepath.Dir(there)); dir != s.configDir() {
		commands = append(commands, shell.Command("ssh", host, shell.Command("mkdir", "-p", "-m", "700", dir)))
	}
	if full, err := filepath.Abs(there); err == nil {
		there = full
	}
	return append(commands, copyTo(key, host, there)+" && "+shell.Command("rm", operand(key)))
}

// alike is what the commands with scp take for granted.
const alike = "(The commands take the files to have the same directory there as here.)"

// keygenSteps are what is to be done with the keys of servers.
func keygenSteps(s sites, all []peer, keys []keyRow) (steps []step) {
	if commands := s.copyConfig(); len(commands) > 0 {
		steps = append(steps, step{"Copy the configuration to the other machines. " + alike, commands})
	}
	var commands []string
	for _, k := range keys {
		commands = append(commands, s.moveKey(k.Server, k.File, k.File)...)
	}
	if len(commands) > 0 {
		steps = append(steps, step{"Copy each key to its own server, and delete it here.", commands})
	}
	text := "Restart all servers. Those with keys do not hear those without, nor those with other keys."
	if len(s.hosts) < len(all) {
		text += "\nThose on this machine find the configuration and their keys where they are now."
	}
	return append(steps, step{Text: text})
}

// takeOver is how servers come to what a changed configuration says of keys.
const takeOver = `take the changed configuration over: with "reload": true they do so by themselves,
and cluster run does so at SIGHUP. Restart those that do neither, one by one.`

// rotateSteps are the way of a server from its present key to the one in the file key.
func rotateSteps(s sites, p peer, key, present string) []step {
	rest := fmt.Sprintf("all servers but server %d %s\nServer %[1]d goes on with its old key meanwhile.", p.ID, takeOver)
	first := step{Text: "Let " + rest}
	if len(s.remote) > 0 {
		first = step{"Copy the configuration to the other machines, and let " + rest + " " + alike, s.copyConfig()}
	}
	second := step{fmt.Sprintf("Put the new key in the place of the old one, and restart server %d.", p.ID), []string{shell.Command("mv", operand(key), operand(present))}}
	if commands := s.moveKey(p.ID, key, present); len(commands) > 0 {
		second = step{fmt.Sprintf("Copy the new key to server %d, in the place of the old one, delete it here, and restart server %d.", p.ID, p.ID), commands}
		if _, err := os.Lstat(present); err == nil {
			second.Commands = append(second.Commands, shell.Command("rm", operand(present)))
		}
	}
	third := step{"Take the old key out of the configuration, and do what the command prints then.",
		[]string{dropCommand(s.file, p.ID)}}
	return []step{first, second, third}
}

// dropSteps are what is to be done once a previous key has been dropped.
func dropSteps(s sites) []step {
	text := "Let all servers " + takeOver + "\nFrom then on the old key opens nothing."
	if len(s.remote) == 0 {
		return []step{{Text: text}}
	}
	return []step{{"Copy the configuration to the other machines. " + alike, s.copyConfig()}, {Text: text}}
}

func dropCommand(file *configFile, id int) string {
	return shell.Command("cluster", "keygen", operand(file.path), "-id", fmt.Sprint(id), "--drop-previous")
}
