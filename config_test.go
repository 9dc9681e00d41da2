package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/abhishekg16/cluster/peercatalog"
)

// sameConfig compares two Configs but for the file that they are from and the
// way in which the JSON in Extra is spaced and escaped.
var sameConfig = cmp.Options{
	cmpopts.IgnoreUnexported(Config{}),
	cmpopts.IgnoreFields(Config{}, "Logger"),
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b json.RawMessage) bool {
		return bytes.Equal(canonical(a), canonical(b))
	}),
}

func canonical(raw json.RawMessage) []byte {
	var compact, escaped bytes.Buffer
	if json.Compact(&compact, raw) != nil {
		return raw
	}
	json.HTMLEscape(&escaped, compact.Bytes())
	return escaped.Bytes()
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

type extra = map[string]json.RawMessage

// twoPeers is what several of the tests below write in different shapes.
var twoPeers = []peercatalog.Peer{
	{ID: 0, Address: "127.0.0.1:8081"},
	{ID: 1, Address: "127.0.0.1:8082"},
}

func TestConfigFileShapes(t *testing.T) {
	for _, test := range []struct {
		name, file string
		want       Config
	}{
		{
			"specified",
			`{"cluster": "demo", "peers": [{"id": 0, "address": "127.0.0.1:8081"}, {"id": 1, "address": "127.0.0.1:8082"}]}`,
			Config{Cluster: "demo", Peers: twoPeers},
		},
		{
			"every field",
			`{"cluster": "c", "peers": [{"id": 65535, "address": "tcp://[::1]:8081", "bind": "*:8081", "observer": true}],
			  "inboxSize": 10000000, "outboxSize": 1, "sendTimeout": "1m0.5s", "queueBytes": 65536,
			  "maxMessageBytes": 1073741824, "linger": "-1s", "watch": true, "watchInterval": "100ms", "transport": "go", "reload": true}`,
			Config{
				Cluster: "c", Peers: []peercatalog.Peer{{ID: 65535, Address: "tcp://[::1]:8081", Bind: "*:8081", Observer: true}},
				InboxSize: 10_000_000, OutboxSize: 1, SendTimeout: time.Minute + time.Second/2, QueueBytes: 65536,
				MaxMessageBytes: 1 << 30, Linger: -time.Second, Watch: true, WatchInterval: time.Second / 10, Transport: "go", Reload: true,
			},
		},
		{
			"capitalised",
			`{"Peers":[{"Id":1,"Address":"localhost:8001"}],"InboxSize":1000,"OutboxSize":1000}`,
			Config{Peers: []peercatalog.Peer{{ID: 1, Address: "localhost:8001"}}, InboxSize: 1000, OutboxSize: 1000},
		},
		{
			"upper case",
			`{"PEERS":[{"ID":1,"ADDRESS":"localhost:8001","BIND":"*:1"}],"SENDTIMEOUT":"2s"}`,
			Config{Peers: []peercatalog.Peer{{ID: 1, Address: "localhost:8001", Bind: "*:1"}}, SendTimeout: 2 * time.Second},
		},
		{
			"bare array",
			`[{"ID":"0","IP":"127.0.0.1","Port":"8081"}, {"ID":"1","IP":"127.0.0.1","Port":"8082"}]`,
			Config{Peers: twoPeers},
		},
		{
			"bare one after another",
			`{"ID":"0","IP":"127.0.0.1","Port":"8081"}` + "\n" + `{"ID":"1","IP":"127.0.0.1","Port":"8082"}` + "\n",
			Config{Peers: twoPeers},
		},
		{
			"bare without space between",
			`{"ID":"0","IP":"127.0.0.1","Port":"8081"}{"ID":"1","IP":"127.0.0.1","Port":"8082"}`,
			Config{Peers: twoPeers},
		},
		{
			"bare with numbers and pairs of ports",
			`{"ID":0,"IP":"127.0.0.1","Port1":8081,"Port2":9081} {"id":"1","ip":"127.0.0.1","port1":"8082","port2":null}`,
			Config{Peers: twoPeers},
		},
		{
			"bare with one entry",
			`{"ID":"7","IP":"::1","Port":"8081"}`,
			Config{Peers: []peercatalog.Peer{{ID: 7, Address: "[::1]:8081"}}},
		},
		{
			"bare with addresses",
			`{"id":0,"address":"127.0.0.1:8081"} {"id":1,"address":"127.0.0.1:8082"}`,
			Config{Peers: twoPeers},
		},
		{
			"bare with fields of the program",
			`[{"ID":"7","IP":"db1.example","Port":8081,"Role":"leader","Bind":"*:9000"}]`,
			Config{Peers: []peercatalog.Peer{{ID: 7, Address: "db1.example:8081", Bind: "*:9000", Extra: extra{"Role": raw(`"leader"`)}}}},
		},
		{
			"fields of the program",
			`{"peers":[{"id":7,"address":"ipc:///tmp/a","FSAddress":"localhost:9", "IP": 4, "Port": [ 1 ]}],"id":3,"ElectionTimeout":150,"raft":{"a": 1, "a": 2}}`,
			Config{
				Peers: []peercatalog.Peer{{ID: 7, Address: "ipc:///tmp/a", Extra: extra{"FSAddress": raw(`"localhost:9"`), "IP": raw("4"), "Port": raw("[1]")}}},
				Extra: extra{"id": raw("3"), "ElectionTimeout": raw("150"), "raft": raw(`{"a":1,"a":2}`)},
			},
		},
		{
			"byte order mark",
			"\uFEFF" + `[{"ID":"0","IP":"127.0.0.1","Port":"8081"}, {"ID":"1","IP":"127.0.0.1","Port":"8082"}]`,
			Config{Peers: twoPeers},
		},
		{
			"zeros are defaults",
			`{"cluster":"","peers":[{"id":0,"address":"mem://a","bind":""}],"inboxSize":0,"outboxSize":0,"sendTimeout":"0","queueBytes":0,"maxMessageBytes":0,"linger":"0s"}`,
			Config{Peers: []peercatalog.Peer{{Address: "mem://a"}}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "Config.json")
			if err := os.WriteFile(path, []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := LoadConfig(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, sameConfig); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			checkRoundTrip(t, got)
		})
	}
}

// checkRoundTrip writes c and reads it again, in both ways that there are.
func checkRoundTrip(t *testing.T, c Config) {
	t.Helper()
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	loaded, err := parseConfig("again.json", data)
	if err != nil {
		t.Fatalf("loading what was marshalled: %v\n%s", err, data)
	}
	var unmarshalled Config
	if err := json.Unmarshal(data, &unmarshalled); err != nil {
		t.Fatalf("unmarshal: %v\n%s", err, data)
	}
	for _, again := range []Config{loaded, unmarshalled} {
		if diff := cmp.Diff(c, again, sameConfig); diff != "" {
			t.Fatalf("after a round trip, -want +got:\n%s", diff)
		}
	}
	second, err := json.Marshal(loaded)
	if err != nil || !bytes.Equal(data, second) {
		t.Fatalf("the second marshal differs (%v):\n%s\n%s", err, data, second)
	}
}

func TestTheConfigOfThisRepositoryLoads(t *testing.T) {
	c, err := LoadConfig("Config.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Peers) < 2 {
		t.Errorf("%d peers, want some to send to", len(c.Peers))
	}
	if _, err := c.prepared(); err != nil {
		t.Error(err)
	}
}

// TestFaultsOfAConfigFile has the whole text of each error; one line each.
func TestFaultsOfAConfigFile(t *testing.T) {
	const (
		good  = `{"id":0,"address":"a:1"}`
		entry = `, for example 127.0.0.1:8081`
		none  = `f: no peers: want at least one, as in {"peers": [{"id": 0, "address": "127.0.0.1:8081"}]}`
		octet = `a whole number of bytes, for example `
		dur   = `a string such as "1s" or "250ms"`
	)
	top := func(fields string) string { return `{"peers":[` + good + "],\n " + fields + `}` }
	peers := func(entries string) string { return `{"peers":[` + "\n" + entries + `]}` }
	for _, test := range []struct {
		name, file string
		want       []string
	}{
		// The form of the whole.
		{"empty", "", []string{`f: the file is empty: want at least {"peers": [{"id": 0, "address": "127.0.0.1:8081"}]}`}},
		{"blank", " \n\t", []string{`f: the file is empty: want at least {"peers": [{"id": 0, "address": "127.0.0.1:8081"}]}`}},
		{"byte order mark only", "\uFEFF", []string{`f: the file is empty: want at least {"peers": [{"id": 0, "address": "127.0.0.1:8081"}]}`}},
		{"UTF-16", "\xFF\xFE{\x00", []string{`f: the file is in UTF-16: save it in UTF-8`}},
		{"number", "5", []string{`f:1:1: got the number 5: want an object`}},
		{"null", " null", []string{`f:1:2: got null: want an object`}},
		{"no object", "{}", []string{none}},
		{"no entries", `{"peers":[]}`, []string{none}},
		{"no bare entries", `[]`, []string{none}},
		{"cut off", "{\n\"peers\": [", []string{`f:2:11: not valid JSON: unexpected end of JSON input`}},
		{"cut off in a string", "{\n\"pee", []string{`f:2:5: not valid JSON: unexpected end of JSON input`}},
		{"trailing comma", "{\n  \"peers\": [" + good + ",]}", []string{`f:2:38: not valid JSON: invalid character ']' looking for beginning of value`}},
		{"bad syntax in line 3, after wide letters", "{\n\"a\":1,\n\"日本\": x}", []string{`f:3:7: not valid JSON: invalid character 'x' looking for beginning of value`}},
		{"comma between bare entries", `{"ID":"0","IP":"a","Port":"1"},`, []string{`f:1:31: not valid JSON: invalid character ',' looking for beginning of value`}},
		{"data behind", top(`"a":1`) + "\n  {}", []string{`f:3:3: data after the end of the configuration: want nothing`}},
		{"garbage behind", top(`"a":1`) + "}", []string{`f:2:8: data after the end of the configuration: want nothing`}},
		{"data behind an array", "[" + good + "]\n" + good, []string{`f:2:1: data after the end of the configuration: want nothing`}},
		{"a second file behind the first", top(`"a":1`) + "\n" + good, []string{`f:3:1: data after the end of the configuration: want nothing`}},

		// Fields.
		{"field twice", top(`"linger":"1s","linger":"1s"`), []string{`f:2:16: field "linger" is given twice, first at 2:2`}},
		{"field twice in another case", top(`"Peers":[]`), []string{`f:2:2: field "Peers" is given twice, first at 1:2`}},
		{"field of the program twice", top(`"a":1,"a":1`), []string{`f:2:8: field "a" is given twice, first at 2:2`}},
		{"near miss", top(`"send_timeout":"1s"`), []string{`f:2:2: unknown field "send_timeout": did you mean "sendTimeout"?`}},
		{"near miss of peers", `{"peer":[` + good + `]}`, []string{`f:1:2: unknown field "peer": did you mean "peers"?`}},
		{"peers by another name", `{"peer_list":[` + good + `]}`, []string{`f:1:1: peers is missing: did you mean it by "peer_list"?`}},
		{"peers by a name that nothing is like", `{"Servers":[` + good + `]}`, []string{none + `; did you mean them by "Servers"?`}},
		{"peers by either of two names", `{"nodes":[` + good + `],"Servers":[{"Host":"a:1"}],"list":[{}],"n":5}`, []string{none + `; did you mean them by "Servers" or "nodes"?`}},
		{"peers inside an object", `{"object":{"Servers":[{"id":1,"host":"a:1"}],"No_of_servers":1}}`, []string{none + `; did you mean them by "Servers" in "object"?`}},
		{"what cannot be peers was not meant", `{"MemberRegSocket":"127.0.0.1:9999","PeerSocket":"127.0.0.1:9009","peerWeights":[1]}`, []string{none}},
		{"peers are an object", `{"peers":{}}`, []string{`f:1:10: peers: got an object: want an array, as in [{"id": 0, "address": "127.0.0.1:8081"}]`}},
		{"cluster is a number", top(`"cluster":1`), []string{`f:2:12: cluster: got the number 1: want a string`}},
		{"inboxSize is a string", top(`"inboxSize":"1"`), []string{`f:2:14: inboxSize: got the string "1": want a whole number of envelopes, for example 1024`}},
		{"outboxSize is a fraction", top(`"outboxSize":1.5`), []string{`f:2:15: outboxSize: got the number 1.5: want a whole number of envelopes, for example 1024`}},
		{"queueBytes is null", top(`"queueBytes": null`), []string{`f:2:16: queueBytes: got null: want ` + octet + `16777216`}},
		{"maxMessageBytes is out of sight", top(`"MaxMessageBytes":1e99`), []string{`f:2:20: maxMessageBytes: got the number 1e99: want ` + octet + `67108864`}},
		{"sendTimeout is a number", top(`"sendTimeout": 1`), []string{`f:2:17: sendTimeout: got the number 1: want ` + dur}},
		{"sendTimeout has no unit", top(`"sendTimeout":"1"`), []string{`f:2:16: sendTimeout: got the string "1": want ` + dur}},
		{"linger is true", top(`"linger":true`), []string{`f:2:11: linger: got true: want ` + dur}},
		{"reload is a string", top(`"reload":"true"`), []string{`f:2:11: reload: got the string "true": want true or false`}},
		{"reload is null", top(`"reload":null`), []string{`f:2:11: reload: got null: want true or false`}},
		{"reload is misspelt", top(`"relaod":true`), []string{`f:2:2: unknown field "relaod": did you mean "reload"?`}},
		{"observer is a number", peers(`{"id":1,"address":"a:1","observer":1}`), []string{`f:2:36: peers[0] (id 1): observer: got the number 1: want true or false`}},
		{"observer is misspelt", peers(`{"id":1,"address":"a:1","obsever":true}`), []string{`f:2:25: peers[0] (id 1): unknown field "obsever": did you mean "observer"?`}},
		{"linger is empty", top(`"linger":""`), []string{`f:2:11: linger: got the string "": want ` + dur}},
		{"transport is an object", top(`"transport":{"tcp":1}`), []string{`f:2:14: transport: got an object: want "go" or "libzmq"`}},
		{"transport is unknown", top(`"transport":"zmq"`), []string{`f: transport "zmq" is unknown: want "go" or "libzmq", or "" for the default`}},
		{"transport misspelt", top(`"transprot":"go"`), []string{`f:2:2: unknown field "transprot": did you mean "transport"?`}},
		{"inboxSize below", top(`"inboxSize":-1`), []string{`f: inboxSize -1 is out of range: want 1 to 10000000, or 0 for the default of 1024`}},
		{"outboxSize above", top(`"outboxSize":10000001`), []string{`f: outboxSize 10000001 is out of range: want 1 to 10000000, or 0 for the default of 1024`}},
		{"queueBytes below", top(`"queueBytes":65535`), []string{`f: queueBytes 65535 is too small: want at least 65536, or 0 for the default of 16777216`}},
		{"maxMessageBytes above", top(`"maxMessageBytes":1073741825`), []string{`f: maxMessageBytes 1073741825 is out of range: want 1 to 1073741824, or 0 for the default of 67108864`}},

		// Entries.
		{"entry is a string", peers(`"a:1"`), []string{`f:2:1: peers[0]: got the string "a:1": want an object, as in {"id": 0, "address": "127.0.0.1:8081"}`}},
		{"bare entry is a number", good + " 5", []string{`f:1:26: peers[1]: got the number 5: want an object, as in {"id": 0, "address": "127.0.0.1:8081"}`}},
		{"id missing", peers(`{"address":"a:1"}`), []string{`f:2:1: peers[0]: id is missing: want a whole number from 0 to 65535`}},
		{"id by another name", peers(`{"pid":1,"address":"a:1"}`), []string{`f:2:1: peers[0]: id is missing: want a whole number from 0 to 65535; did you mean it by "pid"?`}},
		{"id misspelt", peers(`{"idd":1,"address":"a:1"}`), []string{`f:2:2: peers[0]: unknown field "idd": did you mean "id"?`}},
		{"id is a string", peers(`{"id":"1","address":"a:1"}`), []string{`f:2:7: peers[0]: id: got the string "1": want a whole number from 0 to 65535`}},
		{"id is huge", peers(`{"id":99999999999999999999,"address":"a:1"}`), []string{`f:2:7: peers[0]: id: got the number 99999999999999999999: want a whole number from 0 to 65535`}},
		{"id out of range", peers(`{"id":65536,"address":"a:1"}`), []string{`f: peers[0] (id 65536): id 65536 is out of range: want 0 to 65535`}},
		{"id negative", peers(`{"id":-1,"address":"a:1"}`), []string{`f: peers[0] (id -1): id -1 is out of range: want 0 to 65535`}},
		{"id twice", peers(good + `,{"id":0,"address":"a:2"}`), []string{`f: peers[1] (id 0): id 0 is also that of peers[0]`}},
		{"id given twice", peers(`{"id":5,"Id":6,"address":"a:1"}`), []string{`f:2:9: peers[0] (id 5): field "Id" is given twice, first at 2:2`}},
		{"address missing", peers(`{"id":4}`), []string{`f:2:1: peers[0] (id 4): address is missing: want host:port` + entry}},
		{"address by another name", peers(`{"id":4,"Addr":"a:1"}`), []string{`f:2:1: peers[0] (id 4): address is missing: want host:port` + entry + `; did you mean it by "Addr"?`}},
		{"address by a name that nothing is like", peers(`{"id":4,"PeerSocket":"tcp://a:1","role":"x"}`), []string{`f:2:1: peers[0] (id 4): address is missing: want host:port` + entry + `; did you mean it by "PeerSocket"?`}},
		{"address by either of two names", peers(`{"id":4,"PeerSocket":"a:1","FSAddress":"a:2"}`), []string{`f:2:1: peers[0] (id 4): address is missing: want host:port` + entry}},
		{"a number is no address", peers(`{"id":4,"addr":7,"pid":[4]}`), []string{`f:2:1: peers[0] (id 4): address is missing: want host:port` + entry}},
		{"address misspelt", peers(`{"id":4,"adress":"a:1"}`), []string{`f:2:9: peers[0] (id 4): unknown field "adress": did you mean "address"?`}},
		{"address empty", peers(`{"id":4,"address":""}`), []string{`f: peers[0] (id 4): address is missing: want host:port` + entry}},
		{"address is a number", peers(`{"id":4,"address":8081}`), []string{`f:2:19: peers[0] (id 4): address: got the number 8081: want a string such as "127.0.0.1:8081"`}},
		{"address without port", peers(`{"id":1,"address":"localhost"}`), []string{`f: peers[0] (id 1): address "localhost": no port: want host:port` + entry}},
		{"address twice", peers(`{"id":8,"address":"A:1"},{"id":9,"address":"tcp://a:01"}`), []string{`f: peers[1] (id 9): address "tcp://a:01" is also that of peers[0] (id 8)`}},
		{"bind is an array", peers(`{"id":4,"address":"a:1","bind":["*:1"]}`), []string{`f:2:32: peers[0] (id 4): bind: got an array: want a string such as "*:8081"`}},
		{"bind without port", peers(`{"id":4,"address":"a:1","bind":"*"}`), []string{`f: peers[0] (id 4): bind "*": no port: want host:port or *:port, for example *:8081`}},
		{"bind misspelt", peers(`{"id":4,"address":"a:1","bindd":"*:1"}`), []string{`f:2:25: peers[0] (id 4): unknown field "bindd": did you mean "bind"?`}},

		// Bare entries.
		{"bare id is no number", `[{"ID":"x","IP":"a","Port":"1"}]`, []string{`f:1:8: peers[0]: id: got the string "x": want a whole number from 0 to 65535`}},
		{"bare id missing", `[{"IP":"a","Port":"1"}]`, []string{`f:1:2: peers[0]: id is missing: want a whole number from 0 to 65535`}},
		{"ip missing", `{"ID":"1","Port":"1"}`, []string{`f:1:1: peers[0] (id 1): ip is missing: want an address such as 127.0.0.1`}},
		{"ip empty", `{"ID":"1","IP":"","Port":"1"}`, []string{`f:1:16: peers[0] (id 1): ip is empty: want an address such as 127.0.0.1`}},
		{"ip with port", `{"ID":"1","IP":"a:1","Port":"1"}`, []string{`f:1:16: peers[0] (id 1): ip "a:1": more than an address: want one such as 127.0.0.1`}},
		{"ip is a number", `{"ID":"1","IP":1,"Port":"1"}`, []string{`f:1:16: peers[0] (id 1): ip: got the number 1: want a string such as "127.0.0.1"`}},
		{"port missing", `{"ID":"1","IP":"a"}`, []string{`f:1:1: peers[0] (id 1): port is missing: want a number from 1 to 65535`}},
		{"port misspelt", `{"ID":"1","IP":"a","ports":1}`, []string{`f:1:20: peers[0] (id 1): unknown field "ports": did you mean "port"?`}},
		{"port is a word", `{"ID":"1","IP":"a","Port":"http"}`, []string{`f:1:27: peers[0] (id 1): port: got the string "http": want a number from 1 to 65535`}},
		{"port is null", `{"ID":"1","IP":"a","Port1":null}`, []string{`f:1:28: peers[0] (id 1): port1: got null: want a number from 1 to 65535`}},
		{"port is 0", `{"ID":"1","IP":"a","Port":0}`, []string{`f: peers[0] (id 1): address "a:0": the port 0 is not from 1 to 65535: want host:port` + entry}},
		{"port and port1", `{"ID":"1","IP":"a","Port":1,"Port1":2}`, []string{`f:1:29: peers[0] (id 1): port1 beside port: want one of them`}},
		{"ip and address", `{"ID":"1","IP":"a","Address":"a:1"}`, []string{`f:1:11: peers[0] (id 1): ip beside address: want one of them`}},
		{"bare by other names", `{"Pid":1,"Addr":"a:1"} {"Pid":2,"PeerSocket":"a:2"}`, []string{
			`f:1:1: peers[0]: id is missing: want a whole number from 0 to 65535; did you mean it by "Pid"?`,
			`f:1:1: peers[0]: address is missing: want host:port` + entry + `; did you mean it by "Addr"?`,
			`f:1:24: peers[1]: id is missing: want a whole number from 0 to 65535; did you mean it by "Pid"?`,
			`f:1:24: peers[1]: address is missing: want host:port` + entry + `; did you mean it by "PeerSocket"?`,
		}},
		{"bare array by other names", `[{"Pid":1,"PeerSocket":"a:2"}]`, []string{
			`f:1:2: peers[0]: id is missing: want a whole number from 0 to 65535; did you mean it by "Pid"?`,
			`f:1:2: peers[0]: address is missing: want host:port` + entry + `; did you mean it by "PeerSocket"?`,
		}},
		{"bare without any address", `[{"ID":"1"}]`, []string{`f:1:2: peers[0] (id 1): address is missing: want host:port` + entry}},

		// All at once.
		{
			"all at once",
			`{
  "inbox_size": 5,
  "sendTimeout": 5,
  "linger": "1s", "Linger": "1s",
  "outboxSize": -1,
  "peers": [
    {"id": 1, "address": "localhost"},
    {"id": "2", "address": "a:1", "bindd": 1},
    {"id": 1, "address": "a:1", "bind": "ipc:///tmp/x"},
    7,
    {"address": 1, "bind": "x"},
    {"id": -7, "address": "a:0", "bind": "b:0"}
  ]
} []`,
			[]string{
				`f:2:3: unknown field "inbox_size": did you mean "inboxSize"?`,
				`f:4:19: field "Linger" is given twice, first at 4:3`,
				`f:3:18: sendTimeout: got the number 5: want ` + dur,
				`f:8:35: peers[1]: unknown field "bindd": did you mean "bind"?`,
				`f:8:12: peers[1]: id: got the string "2": want a whole number from 0 to 65535`,
				`f:10:5: peers[3]: got the number 7: want an object, as in {"id": 0, "address": "127.0.0.1:8081"}`,
				`f:11:5: peers[4]: id is missing: want a whole number from 0 to 65535`,
				`f:11:17: peers[4]: address: got the number 1: want a string such as "127.0.0.1:8081"`,
				`f:14:3: data after the end of the configuration: want nothing`,
				`f: outboxSize -1 is out of range: want 1 to 10000000, or 0 for the default of 1024`,
				`f: peers[0] (id 1): address "localhost": no port: want host:port` + entry,
				`f: peers[2] (id 1): bind "ipc:///tmp/x": the scheme ipc is not that of the address: want tcp`,
				`f: peers[2] (id 1): id 1 is also that of peers[0]`,
				`f: peers[2] (id 1): address "a:1" is also that of peers[1]`,
				`f: peers[4]: bind "x": no port: want host:port or *:port, for example *:8081`,
				`f: peers[5] (id -7): id -7 is out of range: want 0 to 65535`,
				`f: peers[5] (id -7): address "a:0": the port 0 is not from 1 to 65535: want host:port` + entry,
				`f: peers[5] (id -7): bind "b:0": the port 0 is not from 1 to 65535: want host:port or *:port, for example *:8081`,
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := parseConfig("f", []byte(test.file))
			if err == nil {
				t.Fatalf("loads as %+v", c)
			}
			if diff := cmp.Diff(test.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(Config{}, c, sameConfig); diff != "" {
				t.Errorf("something comes with the error: %s", diff)
			}
		})
	}
}

func TestFaultsWithoutEndAreCounted(t *testing.T) {
	_, err := parseConfig("f", []byte(`{"peers":[`+strings.Repeat("1,", 100_000)+`1]}`))
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if got, want := lines[0], `f:1:11: peers[0]: got the number 1: want an object, as in {"id": 0, "address": "127.0.0.1:8081"}`; got != want {
		t.Errorf("the first is %q, want %q", got, want)
	}
	if got, want := lines[len(lines)-1], "f: and 99901 more faults"; got != want || len(lines) != 101 {
		t.Errorf("the last of %d lines is %q, want %q as the 101st", len(lines), got, want)
	}
}

func TestAConfigFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.json")
	_, err := LoadConfig(missing)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing: got %v, want one that wraps fs.ErrNotExist and names the file", err)
	}
	_, err = LoadConfig(dir)
	if want := fmt.Sprintf("cluster: reading the configuration: read %s: is a directory", dir); !errors.Is(err, syscall.EISDIR) || err.Error() != want {
		t.Errorf("directory: got %v, want %s", err, want)
	}
	if _, err = LoadConfig(""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no path: got %v, want one that wraps fs.ErrNotExist", err)
	}
	if os.Getuid() != 0 {
		secret := filepath.Join(dir, "secret.json")
		if err := os.WriteFile(secret, nil, 0); err != nil {
			t.Fatal(err)
		}
		if _, err = LoadConfig(secret); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("secret: got %v, want one that wraps fs.ErrPermission", err)
		}
	}
	large := filepath.Join(dir, "large.json")
	f, err := os.Create(large)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(maxConfigFile + 1); err != nil { // sparse
		t.Fatal(err)
	}
	_, err = LoadConfig(large)
	if want := fmt.Sprintf("cluster: reading the configuration: %s: the file is larger than 64 MiB", large); err == nil || err.Error() != want {
		t.Errorf("large: got %v, want %s", err, want)
	}
}

func TestZeroFieldsMeanTheDocumentedDefaults(t *testing.T) {
	got, err := Config{Peers: twoPeers}.prepared()
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Peers: twoPeers, InboxSize: 1024, OutboxSize: 1024, SendTimeout: time.Second,
		QueueBytes: 16777216, MaxMessageBytes: 67108864, Linger: 5 * time.Second, WatchInterval: time.Second,
	}
	if diff := cmp.Diff(want, got, sameConfig); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got.Logger != nil {
		t.Errorf("logger %v, want none: then mistakes of the program are told to slog.Default", got.Logger)
	}
}

func TestFieldsThatAreSetAreKept(t *testing.T) {
	want := Config{
		Cluster: "c", Peers: twoPeers, InboxSize: 1, OutboxSize: 10_000_000, SendTimeout: -1,
		QueueBytes: 65536, MaxMessageBytes: 1, Linger: -1, WatchInterval: 50 * time.Millisecond, Extra: extra{"a": raw("1")},
		Logger: slog.Default(),
	}
	got, err := want.prepared()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, sameConfig); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got.Logger != want.Logger {
		t.Error("another logger")
	}
}

func TestAConfigMadeByAProgramHasItsFaultsReportedAtOnce(t *testing.T) {
	c := Config{
		InboxSize: -1, OutboxSize: 10_000_001, QueueBytes: -5, MaxMessageBytes: math.MaxInt32,
		Extra: extra{"Peers": raw("1"), "peer": raw("1"), "x": raw("{")},
		Peers: []peercatalog.Peer{
			{ID: 1, Address: "a:1"},
			{ID: 1, Address: "a:1", Extra: extra{"adress": raw("1"), "y": nil}},
			{},
		},
	}
	want := []string{
		`config: inboxSize -1 is out of range: want 1 to 10000000, or 0 for the default of 1024`,
		`config: outboxSize 10000001 is out of range: want 1 to 10000000, or 0 for the default of 1024`,
		`config: queueBytes -5 is too small: want at least 65536, or 0 for the default of 16777216`,
		`config: maxMessageBytes 2147483647 is out of range: want 1 to 1073741824, or 0 for the default of 67108864`,
		`config: field "Peers" in Extra: "peers" has a field of its own`,
		`config: field "peer" in Extra: did you mean "peers"?`,
		`config: field "x" in Extra: its value is not valid JSON`,
		`config: peers[1] (id 1): field "adress" in Extra: did you mean "address"?`,
		`config: peers[1] (id 1): field "y" in Extra: its value is not valid JSON`,
		`config: peers[1] (id 1): id 1 is also that of peers[0]`,
		`config: peers[1] (id 1): address "a:1" is also that of peers[0] (id 1)`,
		`config: peers[2] (id 0): address is missing: want host:port, for example 127.0.0.1:8081`,
	}
	_, err := c.prepared()
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := (Config{}).prepared(); err == nil || !strings.HasPrefix(err.Error(), "config: no peers: ") {
		t.Errorf("an empty Config: got %v, want that there are no peers", err)
	}
}

func TestFaultsNameTheFileThatAConfigIsFrom(t *testing.T) {
	c, err := parseConfig("dir/Config.json", []byte(`{"peers":[{"id":0,"address":"a:1"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	c.InboxSize = -1
	if _, err := c.prepared(); err == nil || !strings.HasPrefix(err.Error(), "dir/Config.json: inboxSize -1") {
		t.Errorf("got %v, want one that names dir/Config.json", err)
	}
}

func TestPreparedSharesNothingWithItsSource(t *testing.T) {
	make := func() Config {
		return Config{
			Peers: []peercatalog.Peer{{ID: 0, Address: "a:1", Extra: extra{"x": raw("1")}}},
			Extra: extra{"y": raw("2")},
		}
	}
	source := make()
	got, err := source.prepared()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(make(), source, sameConfig); diff != "" {
		t.Errorf("prepared changes its source: %s", diff)
	}
	source.Peers[0].Address = "changed:1"
	source.Peers[0].Extra["x"][0] = '7'
	source.Peers[0].Extra["new"] = raw("1")
	source.Extra["y"][0] = '7'
	source.Extra["new"] = raw("1")
	want, err := make().prepared()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, sameConfig); diff != "" {
		t.Errorf("a change of the source shows: %s", diff)
	}
}

func TestConfigRoundTrip(t *testing.T) {
	for _, d := range []time.Duration{0, 1, -1, time.Second, 90 * time.Minute, math.MaxInt64, math.MinInt64} {
		checkRoundTrip(t, Config{
			Cluster: `a"<b>`, Peers: []peercatalog.Peer{{ID: 3, Address: "a:1", Bind: "*:2", Observer: d > 0, Extra: extra{"<é>": raw(`"<"`), "": raw("null")}}},
			InboxSize: 1, OutboxSize: 2, SendTimeout: d, QueueBytes: 1 << 20, MaxMessageBytes: 5, Linger: d, Reload: d > 0,
			Extra: extra{"b": raw(` { "x" : 1 } `), "a": raw("[]")},
		})
	}
}

func TestConfigInsideAnotherValue(t *testing.T) {
	type program struct {
		Name    string
		Cluster Config
		Other   *Config
	}
	logger := slog.Default()
	got := program{Cluster: Config{Linger: 1, Logger: logger}, Other: &Config{Linger: 1}}
	const in = `{"Name":"n","Cluster":{"cluster":"","peers":[{"id":0,"address":"a:1"}],"sendTimeout":"2s","mine":1},"Other":null}`
	if err := json.Unmarshal([]byte(in), &got); err != nil {
		t.Fatal(err)
	}
	want := Config{
		Peers: []peercatalog.Peer{{ID: 0, Address: "a:1"}}, SendTimeout: 2 * time.Second, Extra: extra{"mine": raw("1")},
	}
	if diff := cmp.Diff(want, got.Cluster, sameConfig); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got.Cluster.Logger != logger {
		t.Error("the logger is gone")
	}
	out, err := json.Marshal(got)
	if err != nil || string(out) != in {
		t.Errorf("marshals (%v) to\n%s, want\n%s", err, out, in)
	}
	before := got.Cluster
	err = json.Unmarshal([]byte(`{"Cluster":{"peer":[],"linger":1}}`), &got)
	const faults = "config:1:2: unknown field \"peer\": did you mean \"peers\"?\nconfig:1:21: linger: got the number 1: want a string such as \"1s\" or \"250ms\""
	if err == nil || err.Error() != faults {
		t.Errorf("got %v\nwant %s", err, faults)
	}
	if diff := cmp.Diff(before, got.Cluster, sameConfig); diff != "" {
		t.Errorf("an error changes the value: %s", diff)
	}
	var null Config
	if err := null.UnmarshalJSON([]byte("null")); err != nil {
		t.Errorf("null: %v", err)
	}
}

func TestConfigThatCouldNotBeReadAgainIsNotWritten(t *testing.T) {
	for want, c := range map[string]Config{
		`field "PEERS" in Extra: "peers" has a field of its own`:                      {Extra: extra{"PEERS": raw("1")}},
		`field "in_box_size" in Extra: did you mean "inboxSize"?`:                     {Extra: extra{"in_box_size": raw("1")}},
		`peers[0] (id 5): field "a" in Extra: its value is not valid JSON`:            {Peers: []peercatalog.Peer{{ID: 5, Extra: extra{"a": raw("{")}}}},
		`peers[0] (id 5): field "bindd" in Extra: did you mean "bind"?`:               {Peers: []peercatalog.Peer{{ID: 5, Extra: extra{"bindd": raw("1")}}}},
		`peers[0] (id 5): field "Address" in Extra: "address" has a field of its own`: {Peers: []peercatalog.Peer{{ID: 5, Extra: extra{"Address": raw("1")}}}},
	} {
		if out, err := c.MarshalJSON(); err == nil || err.Error() != want {
			t.Errorf("got %s, %v, want %s", out, err, want)
		}
	}
}

// FuzzLoadConfig holds that no file makes the parser panic, that every error
// has its lines, and that what loads can be written and loaded again.
func FuzzLoadConfig(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "[]", "null", `"`, "{", "\uFEFF{}", `{"peers":[]}`,
		`{"cluster":"demo","peers":[{"id":0,"address":"127.0.0.1:8081","bind":"*:1"}],"linger":"1s","transport":"go","sendTimeout":"-1ns","x":{"<":1}}`,
		`{"Peers":[{"Id":1,"Address":"localhost:8001"}],"InboxSize":1000,"OutboxSize":1000}`,
		`[{"ID":"0","IP":"127.0.0.1","Port":"8081","a":1},{"ID":"1","IP":"::1","Port1":8081,"Port2":1}]`,
		`{"ID":"0","IP":"127.0.0.1","Port":"8081"}{"id":5,"address":"ipc:///a"} 5`,
		`{"peers":[{"id":0,"address":"a:1","public_key":"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID","previous_public_key":"D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"}],"keyDir":"keys"}`,
		`{"peers":[{"id":0,"address":"a:1","public_key":"short","PublicKey":5},{"id":1,"address":"a:2"}],"keyFile":"x","key_dir":"y"}`,
		`{"peers":[5,{"id":"x","address":5,"bind":{}},{"idd":0}],"inbox_size":1,"linger":5,"linger":5} x`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig("f", data)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "f:") {
					t.Errorf("a line without its place: %q", line)
				}
			}
			return
		}
		if _, err := c.prepared(); err != nil {
			t.Fatalf("loads, but is not valid: %v", err)
		}
		checkRoundTrip(t, c)
	})
}

// BenchmarkLoadConfig reads a file of a thousand entries, without and with fields of the
// program in each.
func BenchmarkLoadConfig(b *testing.B) {
	for _, fields := range []extra{nil, {"FSAddress": raw(`"127.0.0.1:9"`), "role": raw(`"voter"`)}} {
		b.Run(fmt.Sprint(len(fields), " own fields"), func(b *testing.B) {
			var cfg Config
			for id := range 1000 {
				cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: fmt.Sprint("127.0.0.1:", 10_000+id), Extra: fields})
			}
			text, err := json.MarshalIndent(cfg, "", "  ")
			if err != nil {
				b.Fatal(err)
			}
			path := filepath.Join(b.TempDir(), "Config.json")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := LoadConfig(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
