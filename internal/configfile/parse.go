// Package configfile reads the files that say who is in a cluster, in all the shapes that
// they have, and says where a file is wrong, and what to write instead.
package configfile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/abhishekg16/cluster/peercatalog"
)

// A File is what a configuration says. What it leaves out, or has wrong, is zero.
type File struct {
	Cluster                     string
	Peers                       []peercatalog.Peer
	InboxSize, OutboxSize       int
	SendTimeout, Linger         time.Duration
	Watch                       bool
	WatchInterval               time.Duration
	QueueBytes, MaxMessageBytes int
	Transport, KeyDir           string
	Reload                      bool
	Extra                       map[string]json.RawMessage // the program's own fields

	// Bare tells that the file is bare entries one after another. Without its end it may
	// still be such a file, of fewer servers.
	Bare bool

	// Faults are what is wrong with the form of the file, each with its place. They are
	// not about the range of a value, nor about what peers have in common.
	Faults []error
	Broken bool // the file is not JSON, or there is nothing in it
	// Doubtful are the peers, or the id or the address of some, if Faults are about them:
	// they are zero, and no second fault is to be found with that.
	Doubtful map[Field]bool
}

// A Field is one of an entry, which has that index, or of the whole if the index is -1.
type Field struct {
	Index int
	Name  string
}

// Parse reads a configuration. Faults have the name of its file in them.
func Parse(file string, data []byte) *File {
	p := &parser{name: cmp.Or(file, "config"), inner: new(jsontext.Decoder), entry: -1}
	p.data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	p.values = jsontext.NewDecoder(bytes.NewBuffer(p.data), lenient...)
	p.Doubtful = make(map[Field]bool)
	first := p.next()
	switch {
	case p.Broken:
	case first.raw == nil:
		p.Broken = true
		p.fault(-1, `the file is empty: want at least {"peers": [{"id": 0, "address": "127.0.0.1:8081"}]}`)
	case first.raw[0] == '{' && p.isBare(first):
		p.Bare = true
		for e := first; e.raw != nil; e = p.next() {
			p.peer(e)
		}
	case first.raw[0] == '{':
		p.top(first)
	case first.raw[0] == '[':
		p.peers(first, bareFields)
	default:
		p.doubt("peers")
		p.wrong(first, "an object")
	}
	if at := p.behind(); at < len(p.data) && !p.Broken {
		p.fault(at, "data after the end of the configuration: want nothing")
	}
	if p.faults > maxFaults {
		p.Faults = append(p.Faults, fmt.Errorf("%s: and %d more faults", p.name, p.faults-maxFaults))
	}
	return &p.File
}

// isBare tells an entry of a bare sequence from a whole configuration. One whose names
// are wrong is an entry if another value follows it.
func (p *parser) isBare(object value) bool {
	p.expect(bareFields)
	f, _ := p.fields(object)
	p.Faults, p.faults = nil, 0 // what reads the object will find them again
	if slices.ContainsFunc(f, func(v value) bool { return Match(v.name, TopFields) == "peers" }) {
		return false
	}
	id, address := f.has("id"), f.has("address", "ip", "port", "port1")
	if p.behind() < len(p.data) {
		id, address = id || f.meant("id") != "", address || f.meant("address") != ""
	}
	return id && address
}

// top reads a whole configuration.
func (p *parser) top(object value) {
	p.expect(TopFields)
	var f fields
	f, p.Extra = p.fields(object)
	const envelopes, octets = "a whole number of envelopes, for example 1024", "a whole number of bytes, for example "
	const duration = `a string such as "1s" or "250ms"`
	p.take(f, "cluster", &p.Cluster, "a string")
	p.take(f, "inboxSize", &p.InboxSize, envelopes)
	p.take(f, "outboxSize", &p.OutboxSize, envelopes)
	p.take(f, "queueBytes", &p.QueueBytes, octets+"16777216")
	p.take(f, "maxMessageBytes", &p.MaxMessageBytes, octets+"67108864")
	p.take(f, "sendTimeout", &p.SendTimeout, duration)
	p.take(f, "linger", &p.Linger, duration)
	p.take(f, "watch", &p.Watch, "true or false")
	p.take(f, "watchInterval", &p.WatchInterval, duration)
	p.take(f, "transport", &p.Transport, `"go" or "libzmq"`)
	p.take(f, "keyDir", &p.KeyDir, `a string such as "keys"`)
	p.take(f, "reload", &p.Reload, "true or false")
	p.replicaFields(f)
	p.peersField(f, object)
	p.addReplicas()
}

// peersField reads the entries of a whole configuration.
func (p *parser) peersField(f fields, object value) {
	switch v, other := f.ours("peers"), f.meant("peers"); {
	case f.slipped("peers"):
	case v.raw != nil && v.raw[0] == '[':
		p.peers(v, PeerFields)
		return
	case v.raw != nil:
		p.wrong(v, `an array, as in [{"id": 0, "address": "127.0.0.1:8081"}]`)
	case p.replicas.given:
		return
	case other != "":
		p.fault(object.at, "peers is missing: did you mean it by %.60q?", other)
	default:
		return
	}
	p.doubt("peers")
}

// peers reads an array of entries, in which our fields have these names.
func (p *parser) peers(array value, names []string) {
	p.expect(names)
	elements := new(jsontext.Decoder)
	for open(elements, array); elements.PeekKind() != ']'; {
		p.peer(part(elements, array))
	}
}

// peer reads one more entry.
func (p *parser) peer(object value) {
	const wantID, wantKey = "a whole number from 0 to 65535", "a string of 40 characters in Z85"
	p.entry, p.id, p.known = len(p.Peers), 0, false
	var peer peercatalog.Peer
	addressed := false
	if object.raw[0] != '{' {
		p.wrong(object, `an object, as in {"id": 0, "address": "127.0.0.1:8081"}`)
	} else {
		var f fields
		f, peer.Extra = p.fields(object)
		p.require(f, "id", &peer.ID, wantID, wantID)
		p.take(f, "bind", &peer.Bind, `a string such as "*:8081"`)
		p.take(f, "public_key", &peer.PublicKey, wantKey)
		p.take(f, "previous_public_key", &peer.PreviousPublicKey, wantKey)
		p.take(f, "observer", &peer.Observer, "true or false")
		addressed = p.address(f, &peer)
	}
	if !p.known {
		p.doubt("id")
	}
	if !addressed {
		p.doubt("address")
	}
	p.Peers = append(p.Peers, peer)
	p.entry = -1
}

// address puts the address of an entry into peer, and reports whether it is known.
func (p *parser) address(f fields, peer *peercatalog.Peer) (ok bool) {
	if !f.has("address") && f.has("ip", "port", "port1") { // only in a bare entry
		peer.Address, ok = p.hostAndPort(f)
		return ok
	}
	if !f.has("address") && !f.slipped("address") && p.replicas.given {
		if replica, ok := p.replicas.entry(peer.ID); ok && p.known {
			peer.Address, peer.Bind = replica.Address, cmp.Or(peer.Bind, replica.Bind)
			return true
		} else if p.replicas.peers == nil {
			return false // what is wrong with the address of all is said
		}
	}
	p.beside(f, "address", "ip", "port", "port1")
	return p.require(f, "address", &peer.Address, `a string such as "127.0.0.1:8081"`, "host:port, for example 127.0.0.1:8081")
}

// hostAndPort makes an address of the fields ip and port, or port1.
func (p *parser) hostAndPort(f fields) (address string, ok bool) {
	const wantIP, wantPort = "an address such as 127.0.0.1", "a number from 1 to 65535"
	host, port, number := "", "port", 0
	ok = p.require(f, "ip", &host, `a string such as "127.0.0.1"`, wantIP)
	_, err := netip.ParseAddr(host)
	if ok && host == "" {
		ok = false
		p.fault(f.ours("ip").at, "ip is empty: want %s", wantIP)
	} else if err != nil && strings.Contains(host, ":") {
		ok = false
		p.fault(f.ours("ip").at, "ip %.120q: more than an address: want one such as 127.0.0.1", host)
	}
	if p.beside(f, "port", "port1"); f.has("port1") {
		port = "port1"
	}
	ok = p.require(f, port, &number, wantPort, wantPort) && ok
	return net.JoinHostPort(host, strconv.Itoa(number)), ok
}

// beside reports the others of our fields that one of them leaves no room for.
func (p *parser) beside(f fields, ours string, others ...string) {
	for _, other := range others {
		if v := f.ours(other); v.raw != nil && f.has(ours) {
			p.fault(v.nameAt, "%s beside %s: want one of them", other, ours)
		}
	}
}

// Entry names an entry of a sequence of peers in errors, and its id if that is known.
func Entry(index, id int, known bool) string {
	if !known {
		return fmt.Sprintf("peers[%d]", index)
	}
	return fmt.Sprintf("peers[%d] (id %d)", index, id)
}
