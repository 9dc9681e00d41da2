//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
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

func (t *trial) newNetwork(hosts int) (*network, error) {
	n := &network{t: t}
	bridge := fmt.Sprintf("faults-%d-bridge", os.Getpid())
	add := func(name string) error {
		if err := runCommand("ip", "netns", "add", name); err != nil {
			return err
		}
		t.onEnd(func() { runCommand("ip", "netns", "delete", name) })
		return runCommand("ip", "-n", name, "link", "set", "lo", "up")
	}
	if err := add(bridge); err != nil {
		return nil, err
	}
	if err := runCommand("ip", "-n", bridge, "link", "add", "bridge", "type", "bridge"); err != nil {
		return nil, err
	}
	if err := runCommand("ip", "-n", bridge, "link", "set", "bridge", "up"); err != nil {
		return nil, err
	}
	for i := range hosts {
		name, port := fmt.Sprintf("faults-%d-%d", os.Getpid(), i), fmt.Sprintf("port%d", i)
		n.hosts = append(n.hosts, name)
		if err := add(name); err != nil {
			return nil, err
		}
		for _, arguments := range [][]string{
			{"-n", bridge, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name},
			{"-n", bridge, "link", "set", port, "master", "bridge", "up"},
			{"-n", name, "address", "add", hostAddress(i) + "/24", "dev", "eth0"},
			{"-n", name, "link", "set", "eth0", "up"},
		} {
			if err := runCommand("ip", arguments...); err != nil {
				return nil, err
			}
		}
	}
	return n, nil
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

var packets = regexp.MustCompile(`counter packets (\d+)`)
