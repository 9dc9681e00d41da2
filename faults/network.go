//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A network is hosts of the driver's own, each a network namespace with one address,
// joined by a bridge in another. Nothing outside can be reached from there.
type network struct {
	t     *trial
	hosts []string // names of namespaces
}

var needNetwork = []need{needRoot, tool("ip"), tool("nft")}

// hostAddress is the address of a host.
func hostAddress(host int) string { return fmt.Sprintf("10.77.0.%d", host+1) }

// serverPort is where servers on hosts of their own listen.
const serverPort = 7000

// namespaces is where ip keeps those that have names.
const namespaces = "/var/run/netns"

// newNamespace makes a namespace whose name says which driver's it is.
func (t *trial) newNamespace(part string) (name string, err error) {
	name = fmt.Sprintf("faults-%d-%s", os.Getpid(), part)
	if err := runCommand("ip", "netns", "add", name); err != nil {
		return "", err
	}
	t.onEnd(func() { runCommand("ip", "netns", "delete", name) })
	return name, runCommand("ip", "-n", name, "link", "set", "lo", "up")
}

// inNamespace has something done by a thread that is in the namespace. A socket or a device
// that it makes stays there.
func inNamespace(name string, do func() error) error {
	there, err := os.Open(filepath.Join(namespaces, name))
	if err != nil {
		return err
	}
	defer there.Close()
	home, err := os.Open("/proc/thread-self/ns/net") // the same of all threads, but in here
	if err != nil {
		return err
	}
	defer home.Close()
	runtime.LockOSThread() // a namespace is entered by a thread, and not by a process
	defer runtime.UnlockOSThread()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	err = do()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		panic(back) // a thread of ours is somewhere else
	}
	return err
}

func (t *trial) newNetwork(hosts int) (*network, error) {
	n := &network{t: t}
	bridge, err := t.newNamespace("bridge")
	if err != nil {
		return nil, err
	}
	if err := runCommand("ip", "-n", bridge, "link", "add", "bridge", "type", "bridge"); err != nil {
		return nil, err
	}
	if err := runCommand("ip", "-n", bridge, "link", "set", "bridge", "up"); err != nil {
		return nil, err
	}
	for i := range hosts {
		name, err := t.newNamespace(strconv.Itoa(i))
		if err != nil {
			return nil, err
		}
		n.hosts = append(n.hosts, name)
		port := fmt.Sprintf("port%d", i)
		for _, arguments := range [][]string{
			{"-n", bridge, "link", "add", port, "type", "veth", "peer", "name", device, "netns", name},
			{"-n", bridge, "link", "set", port, "master", "bridge", "up"},
		} {
			if err := runCommand("ip", arguments...); err != nil {
				return nil, err
			}
		}
		if err := n.connect(i); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// device is what a host is connected by.
const device = "eth0"

// connect gives a host's device its address.
func (n *network) connect(host int) error {
	err := runCommand("ip", "-n", n.hosts[host], "address", "add", hostAddress(host)+"/24", "dev", device)
	if err != nil {
		return err
	}
	return runCommand("ip", "-n", n.hosts[host], "link", "set", device, "up")
}

// underLoad starts servers, each on the host with its number, which all send.
func (n *network) underLoad(servers int, work load) (*field, error) {
	f, err := n.newField(servers)
	if err != nil {
		return nil, err
	}
	return f, f.startUnder(work)
}

// newField plans servers, each on the host with its number.
func (n *network) newField(servers int) (*field, error) {
	f, err := n.t.newField(servers, nil)
	if err != nil {
		return nil, err
	}
	for id, plan := range f.servers {
		plan.prefix = n.on(id)
		for i := range plan.cfg.Peers {
			p := &plan.cfg.Peers[i]
			p.Address = fmt.Sprintf("%s:%d", hostAddress(p.ID), serverPort)
		}
	}
	return f, nil
}

// on is what goes before a command that is to run on a host.
func (n *network) on(host int) []string { return []string{"ip", "netns", "exec", n.hosts[host]} }

func (n *network) run(host int, command ...string) error {
	line := append(n.on(host), command...)
	return runCommand(line[0], line[1:]...)
}

// count reads a counter of a host's kernel, such as Tcp InSegs.
func (n *network) count(host int, group, name string) (int, error) {
	line := append(n.on(host), "cat", "/proc/net/snmp", "/proc/net/netstat")
	out, err := exec.Command(line[0], line[1:]...).Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", strings.Join(line, " "), err)
	}
	// Of each group there is a line of names, and then one of values.
	var names []string
	for text := range strings.Lines(string(out)) {
		fields := strings.Fields(text)
		if len(fields) == 0 || fields[0] != group+":" {
			continue
		}
		if names == nil {
			names = fields
		} else if i := slices.Index(names, name); i > 0 && i < len(fields) {
			return strconv.Atoi(fields[i])
		}
	}
	return 0, fmt.Errorf("the kernel counts no %s %s", group, name)
}

// opened is how many connections the hosts have begun to open so far.
func (n *network) opened() (sum int, err error) {
	for host := range n.hosts {
		some, err := n.openedBy(host)
		if err != nil {
			return 0, err
		}
		sum += some
	}
	return sum, nil
}

// openedBy is how many of them one host has.
func (n *network) openedBy(host int) (int, error) { return n.count(host, "Tcp", "ActiveOpens") }

// filter has a host drop some of the segments that come in, as the rule says. One rule
// takes the place of another.
func (n *network) filter(host int, rule string) error {
	return n.run(host, "nft", fmt.Sprintf(`add table inet faults
		delete table inet faults
		table inet faults {
			chain in {
				type filter hook input priority 0
				%s counter drop
			}
		}`, rule))
}

// unfilter lets everything in again, and tells how much was dropped.
func (n *network) unfilter(host int) (dropped int, err error) {
	line := append(n.on(host), "nft", "list", "table", "inet", "faults")
	out, err := exec.Command(line[0], line[1:]...).Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", strings.Join(line, " "), err)
	}
	if m := packets.FindSubmatch(out); m != nil {
		dropped, _ = strconv.Atoi(string(m[1]))
	}
	return dropped, n.run(host, "nft", "delete", "table", "inet", "faults")
}

// filterAll has all hosts drop some of the segments that come in, as the rule says.
func (n *network) filterAll(rule string) error {
	for host := range n.hosts {
		if err := n.filter(host, rule); err != nil {
			return err
		}
	}
	return nil
}

// unfilterAll lets everything in again on all hosts, and tells how much was dropped.
func (n *network) unfilterAll() (dropped int, err error) {
	for host := range n.hosts {
		some, err := n.unfilter(host)
		if err != nil {
			return 0, err
		}
		dropped += some
	}
	return dropped, nil
}

var packets = regexp.MustCompile(`counter packets (\d+)`)

// file puts a file in the place of one of /etc for what runs on a host. ip does so when it
// starts a command there, and so the file is written over later and not replaced.
func (n *network) file(host int, name, text string) error {
	dir := filepath.Join(hostFiles, n.hosts[host])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	n.t.onEnd(func() {
		os.RemoveAll(dir)
		os.Remove(hostFiles) // if it is empty
	})
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
}
