//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abhishekg16/cluster"
)

func init() {
	register(row{
		name:    "descriptors",
		promise: "where descriptors run out the error says so, others are not disturbed, and it goes on when there are some again",
		fault:   "one of three servers has opened as many files as it may, when it first sends and is first sent to",
		quick:   true,
		run:     descriptors,
	}, row{
		name:    "ports",
		promise: "where no port is left to connect from, messages are dropped and counted, and it goes on when there are some again",
		fault:   "in a namespace with two ports for connections, both are taken for each of the peers",
		needs:   []need{needRoot, tool("ip")},
		run:     ports,
	}, row{
		name:    "disk",
		promise: "a full disk under the program's log stops nothing, and the log goes on when there is room again",
		fault:   "the log of one of two servers is on a file system (tmpfs) that is full",
		needs:   []need{needRoot},
		run:     disk,
	})
}

// tool is the need of a command.
func tool(name string) need {
	return need{"the command " + name, func() error { _, err := exec.LookPath(name); return err }}
}

// runCommand runs a command to its end.
func runCommand(name string, arguments ...string) error {
	out, err := exec.Command(name, arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, out)
	}
	return nil
}

// shortage is what all these rows do: server 0 takes what there is, all three send for a
// while, and it gives it back.
func (t *trial) shortage(f *field, take func() error, complaint string) error {
	const short = 0
	healthy := f.others(short)
	work := load{Rate: 200, Size: 500}
	for _, id := range healthy {
		l := work
		l.To = f.others(short, id)
		if err := f.load(id, l); err != nil {
			return err
		}
	}
	before, err := t.sleep(scale(t, 4*time.Second, 2*time.Second))
	if err != nil {
		return err
	}
	if err := take(); err != nil {
		return err
	}
	t.say("server %d has taken all there is", short)
	if err := f.load(short, work); err != nil {
		return err
	}
	for _, id := range healthy {
		if err := f.load(id, work); err != nil {
			return err
		}
	}
	during, err := t.sleep(scale(t, 4*time.Second, 2*time.Second))
	if err != nil {
		return err
	}
	ill, err := f.counters(short)
	if err != nil {
		return err
	}
	words := f.life(short).proc.words()
	t.say("and gives it back")
	if _, err := f.ask(short, command{Do: "release"}); err != nil {
		return err
	}
	healed := now()
	after, err := t.sleep(2 * time.Second)
	if err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	ratio, v := b.keptRate(before, during, among(healthy...))
	t.failIf(v)
	t.figure("rate of the others", "%.1f %%", 100*ratio)
	worst, vs := b.recovery(healed, longest, f.ids(), f.ids())
	t.fail(vs...)
	t.figure("first delivery after", "%v", worst.Round(time.Millisecond))
	t.fail(b.traffic(200, nil, before, during, after)...)
	dropped := uint64(0)
	for _, p := range ill.Peers {
		dropped += p.dropped()
	}
	if dropped == 0 {
		t.fail(found(oracleVacuity, "server %d has dropped nothing", short))
	}
	t.figure("dropped and counted", "%d", dropped)
	switch line := lineWith(words, complaint); {
	case complaint == "":
	case line == "":
		t.fail(found(oracleError, "the log does not say %q:\n%s", complaint, words))
	default:
		t.figure("the log says", "`%s`", line)
	}
	return nil
}

// lineWith is the message of the first line of a log that has the text.
func lineWith(log, text string) string {
	for line := range strings.Lines(log) {
		if strings.Contains(line, text) {
			_, message, _ := strings.Cut(strings.TrimSpace(line), "msg=")
			return message
		}
	}
	return ""
}

func descriptors(t *trial) error {
	f, err := t.newField(3, nil)
	if err != nil {
		return err
	}
	f.servers[0].arguments = []string{"-descriptors", "128"}
	if err := f.startAll(); err != nil {
		return err
	}
	const complaint = "too many open files"
	err = t.shortage(f, func() error {
		_, err := f.ask(0, command{Do: "hoard", What: "descriptors"})
		return err
	}, complaint)
	if err != nil {
		return err
	}
	// And one that cannot even start says why.
	if f, err = t.newField(1, nil); err != nil {
		return err
	}
	f.servers[0].arguments = []string{"-descriptors", "128", "-hoard", "descriptors"}
	switch err := f.start(0); {
	case err == nil:
		t.fail(found(oracleError, "a server started without descriptors"))
	case !strings.Contains(err.Error(), complaint):
		t.fail(found(oracleError, "a server that cannot start does not say %q: %v", complaint, err))
	}
	return nil
}

func ports(t *trial) error {
	name, err := t.newNamespace("ports")
	if err != nil {
		return err
	}
	inside := []string{"ip", "netns", "exec", name}
	narrow := append(inside[1:], "sh", "-c", "echo 40000 40001 >/proc/sys/net/ipv4/ip_local_port_range")
	if err := runCommand("ip", narrow...); err != nil {
		return err
	}
	f, err := t.newField(3, nil)
	if err != nil {
		return err
	}
	for _, plan := range f.servers {
		plan.prefix = inside
	}
	if err := f.startAll(); err != nil {
		return err
	}
	return t.shortage(f, func() error {
		// What the others use to reach each other is not taken from them.
		for _, id := range f.others(0) {
			if _, err := f.ask(0, command{Do: "hoard", What: f.cfg.Peers[id].Address}); err != nil {
				return err
			}
		}
		return nil
	}, "")
}

func disk(t *trial) error {
	dir := t.path("small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		return fmt.Errorf("mounting a small tmpfs: %w", err)
	}
	t.onEnd(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	log, filler := dir+"/log", dir+"/filler"
	f, err := t.newField(2, func(c *cluster.Config) { c.SendTimeout = 200 * time.Millisecond })
	if err != nil {
		return err
	}
	f.servers[0].arguments = []string{"-log", log}
	work := load{Rate: 200, Size: 500}
	if err := f.startUnder(work); err != nil {
		return err
	}
	before, err := t.sleep(2 * time.Second)
	if err != nil {
		return err
	}
	t.say("the disk is filled, and server 1 is restarted, which is worth a line in the log")
	if err := fillDisk(filler, log); err != nil {
		return err
	}
	again := func() error {
		f.kill(1)
		if _, err := t.sleep(500 * time.Millisecond); err != nil {
			return err
		}
		if err := f.start(1); err != nil {
			return err
		}
		return f.load(1, work)
	}
	if err := again(); err != nil {
		return err
	}
	full, err := t.sleep(3 * time.Second)
	if err != nil {
		return err
	}
	a, err := f.ask(0, command{Do: "counters"})
	if err != nil {
		return err
	}
	wasFull := linesIn(log)
	if err := os.Remove(filler); err != nil {
		return err
	}
	t.say("there is room again, and server 1 is restarted once more")
	if err := again(); err != nil {
		return err
	}
	after, err := t.sleep(2 * time.Second)
	if err != nil {
		return err
	}
	more := linesIn(log) - wasFull
	b, err := f.finish()
	if err != nil {
		return err
	}
	for _, s := range []span{before, full, after} {
		t.fail(b.traffic(200, from(0, 1), s)...)
		t.fail(b.traffic(200, from(1, 0), s)...)
	}
	if a.LogFaults == 0 {
		t.fail(found(oracleVacuity, "nothing was logged while the disk was full"))
	}
	if more < 1 {
		t.fail(found(oracleRecovery, "nothing was logged after there was room again"))
	}
	t.figure("lines that could not be written", "%d", a.LogFaults)
	t.figure("lines written after", "%d", more)
	return nil
}

// fillDisk fills a small file system with a file, and the last block of a log there with empty lines. If nothing was logged, the log has no
// block, and still no line after that, which is an error.
func fillDisk(filler, log string) error {
	if err := os.WriteFile(filler, make([]byte, 64<<10), 0o600); err == nil {
		return fmt.Errorf("the file system of %s is not full", filler)
	}
	if file, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0); err == nil {
		for range 64 << 10 {
			if _, err := file.Write([]byte{'\n'}); err != nil {
				break
			}
		}
		file.Close()
	}
	if linesIn(log) == 0 {
		return found(oracleVacuity, "nothing was logged before the disk was full")
	}
	return nil
}

// linesIn is how many lines a file has.
func linesIn(file string) int {
	text, _ := os.ReadFile(file)
	return strings.Count(string(text), "\n")
}
