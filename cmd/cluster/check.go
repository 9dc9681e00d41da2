package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/abhishekg16/cluster"
)

func checkCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "find what is wrong with a configuration, its keys and its addresses",
		UsageText: "cluster check CONFIG [-id N [--key-file FILE]] [--wait D] [--without-key] [--json]",
		Description: `Reports all faults at once: of the configuration itself; host names that do not resolve,
or lead to loopback where the others are elsewhere; ports of this machine that another
program has; what answers and is no server of this configuration; key files that are
missing, open to others, or not their server's; files from the future, as a wrong clock
makes them. A server that does not answer is no fault.

It looks up names and tries their addresses in turn, as servers do, and goes through
ZeroMQ's handshake with what answers. Where there are keys it needs one for that: that of
the server -id, or any that is here. Such a server has the key that the configuration
says, and lets in who asks. With -id it also asks in that server's place, if that does not run, as
cluster ping does: one that does not answer it is of another cluster, does not list it, or cannot reach it. Without a key nothing is asked, unless --without-key is given: then it hangs up after
the greeting, which each server counts as a handshake that failed.

Where an entry says by a field "http" where the server's page is (see cluster run), that is asked
what runs there: another server than the entry's, one of another cluster, one that has not taken
the file over, or has refused it, is a fault.

To learn whether a port is free it listens there for a moment, so a server should not be
started at the same time.

It ends with 0 if there is no fault, and with 1 if there is one.

Examples:
   cluster check Config.json
   cluster check Config.json -id 3     at server 3: its address and its key must be here
   cluster check Config.json --json | jq .faults`,
		Flags: []cli.Flag{
			idFlag("this is the machine of the server `N`: its address and its key must be here, the others' keys need not"),
			keyFileFlag(),
			&cli.DurationFlag{Name: "wait", Value: time.Second, Usage: "how long `D` a server may take to answer"},
			&cli.BoolFlag{Name: "without-key", Usage: "ask servers with keys even where no key is here: they count a failed handshake"},
			jsonFlag(),
		},
		Action: func(ctx context.Context, c *cli.Command) error { return check(ctx, c, s) },
	}
}

func check(ctx context.Context, c *cli.Command, s streams) error {
	args, err := arguments(c, "CONFIG")
	if err != nil {
		return err
	}
	id, err := serverID(c)
	if err != nil {
		return err
	}
	wait, err := positive(c, "wait")
	if err != nil {
		return err
	}
	if c.IsSet("key-file") && id == noID {
		return usageError("--key-file needs -id: whose key is it?")
	}
	r := newReport(args[0], id)
	r.keyFile = c.String("key-file")
	r.checkNetwork(ctx, wait, asker{us: r.anyKey(), glance: c.Bool("without-key")})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.checkHearing(ctx, wait)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.checkPages(ctx, wait)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.checkKeys()
	if c.Bool("json") {
		err = printJSON(s.out, r)
	} else {
		err = r.print(s.out)
	}
	if err == nil && len(r.Faults) > 0 {
		err = errReported
	}
	return err
}

// A report is what check has found. Its JSON form is that of --json.
type report struct {
	File    string          `json:"file"`
	Cluster string          `json:"cluster"`
	Keys    bool            `json:"keys"` // the servers have some
	Servers []*serverReport `json:"servers"`
	Faults  []finding       `json:"faults"`
	Notes   []finding       `json:"notes"`

	keyDir  string
	keyFile string // of the server id, if it was named
	id      int    // the server whose machine this is, or noID
}

type serverReport struct {
	ID      int    `json:"id"`
	Address string `json:"address"`
	Bind    string `json:"bind,omitempty"`
	// Observer tells that it is beside the cluster.
	Observer bool `json:"observer,omitempty"`
	// Resolved is what the name in the address stands for here.
	Resolved []string `json:"resolved,omitempty"`

	Here    bool   `json:"here"`    // it listens on this machine
	Answers string `json:"answers"` // "yes", "no: ...", "not asked: ...", or "-" if it cannot be asked
	Key     string `json:"key"`     // "ok", "not here", "-" if there are no keys, or "bad"
	// Runs is what the page of the server says of it, if it has one and that answers.
	Runs *runState `json:"runs,omitempty"`

	peer    peer
	running bool // it has answered as a server of this configuration
}

// A finding is one fault, or one note.
type finding struct {
	Server *int   `json:"server,omitempty"` // nil: it is not about a single one
	About  string `json:"about"`            // config, address, key or clock
	Text   string `json:"text"`
}

func (r *report) fault(about string, s *serverReport, format string, args ...any) {
	r.Faults = append(r.Faults, newFinding(about, s, fmt.Sprintf(format, args...)))
}

func (r *report) note(about string, s *serverReport, format string, args ...any) {
	r.Notes = append(r.Notes, newFinding(about, s, fmt.Sprintf(format, args...)))
}

func newFinding(about string, s *serverReport, text string) finding {
	f := finding{About: about, Text: text}
	if s != nil {
		f.Server = &s.ID
	}
	return f
}

// newReport reads the configuration. If it has faults the servers are still those whose
// entries can be understood, so that they can be checked as well.
func newReport(path string, id int) *report {
	r := &report{File: path, Servers: []*serverReport{}, Faults: []finding{}, Notes: []finding{}, id: id}
	cfg, err := cluster.LoadConfig(path)
	if err != nil {
		for _, err := range flatten(err) {
			r.fault("config", nil, "%v", err)
		}
		cfg = salvage(path)
		if len(cfg.Peers) > 0 {
			r.note("config", nil, "the rest is about the servers whose entries can be understood")
		}
	}
	r.Cluster, r.keyDir = cfg.Cluster, cfg.KeyDir
	for _, p := range cfg.Peers {
		r.Keys = r.Keys || len(p.Keys()) > 0
		r.Servers = append(r.Servers, &serverReport{ID: p.ID, Address: p.Address, Bind: p.Bind, Observer: p.Observer, Answers: "-", Key: "-", peer: p})
	}
	if len(r.Servers) > 0 && !slices.ContainsFunc(r.Servers, func(s *serverReport) bool { return !s.Observer }) {
		r.fault("config", nil, "%s: each entry is an observer: BROADCAST reaches nobody; take \"observer\" from those that are servers", path)
	}
	if id != noID && err == nil && !slices.ContainsFunc(cfg.Peers, hasID(id)) {
		r.fault("config", nil, "%s: no entry has the id %d", path, id)
	}
	r.checkClock(path, "config", nil)
	return r
}

// flatten returns the errors that were joined in err.
func flatten(err error) (all []error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			all = append(all, flatten(err)...)
		}
		return all
	}
	return []error{err}
}

// salvage reads what it can of a configuration that has faults: entries of which each
// is right by itself.
func salvage(path string) (cfg cluster.Config) {
	text, err := os.ReadFile(path)
	if err != nil {
		return cfg
	}
	found, err := findEntries(text)
	if err != nil {
		return cfg
	}
	for name, into := range map[string]*string{"cluster": &cfg.Cluster, "keyDir": &cfg.KeyDir} {
		if m := found.top.field(name); m != nil {
			json.Unmarshal(text[m.at:m.end], into) // what is no string is among the faults
		}
	}
	for _, e := range found.entries {
		fields := make(map[string]string)
		for _, name := range []string{"id", "address", "bind", "ip", "port", "port1", "public_key", "previous_public_key", "observer"} {
			if m := e.field(name); m != nil {
				value := string(text[m.at:m.end])
				json.Unmarshal(text[m.at:m.end], &value) // a number stays as it is
				fields[name] = value
			}
		}
		p := peer{Address: fields["address"], Bind: fields["bind"], PublicKey: fields["public_key"], PreviousPublicKey: fields["previous_public_key"],
			Observer: fields["observer"] == "true"}
		if p.Address == "" && fields["ip"] != "" {
			p.Address = net.JoinHostPort(fields["ip"], fields["port"]+fields["port1"])
		}
		if p.ID, err = strconv.Atoi(fields["id"]); err == nil && p.Validate() == nil {
			cfg.Peers = append(cfg.Peers, p)
		}
	}
	return cfg
}

// clockSkew is how far the clocks of two machines that share files may be apart.
const clockSkew = 5 * time.Second

// checkClock finds a file that was changed in the future. Message ids are taken from the
// clock: one that was set back may give the same again.
func (r *report) checkClock(path, about string, s *serverReport) {
	info, err := os.Stat(path)
	if err != nil {
		return // reported where it is read
	}
	if ahead := time.Until(info.ModTime()); ahead > clockSkew {
		r.fault("clock", s, "%s: it was changed %v from now, at %s: the clock of this machine, or of the one that wrote it, is wrong",
			path, ahead.Round(time.Second), info.ModTime().Format(time.DateTime))
	}
}
