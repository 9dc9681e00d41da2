package zmtp

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/internal/transport"
)

func TestPropertiesAreReadAndWrittenAsTheProtocolHasThem(t *testing.T) {
	if got, want := string(pushing.properties()), "\x0bSocket-Type\x00\x00\x00\x04PUSH"; got != want {
		t.Errorf("our own are %q, want %q", got, want)
	}
	type want struct {
		value string
		ok    bool
	}
	for name, c := range map[string]struct {
		sent string
		want
	}{
		"one":                {"\x0bSocket-Type\x00\x00\x00\x04PUSH", want{"PUSH", true}},
		"others before":      {"\x08Identity\x00\x00\x00\x00\x0bSocket-Type\x00\x00\x00\x04PUSH", want{"PUSH", true}},
		"others behind":      {"\x0bSocket-Type\x00\x00\x00\x04PUSH\x03X-y\x00\x00\x00\x01z", want{"PUSH", true}},
		"another case":       {"\x0bsocket-TYPE\x00\x00\x00\x04PUSH", want{"PUSH", true}},
		"an empty value":     {"\x0bSocket-Type\x00\x00\x00\x00", want{"", true}},
		"none":               {"", want{}},
		"another":            {"\x08Identity\x00\x00\x00\x00", want{}},
		"a part of a name":   {"\x0bSocket", want{}},
		"no size":            {"\x0bSocket-Type\x00\x00", want{}},
		"a part of a value":  {"\x0bSocket-Type\x00\x00\x00\x05PUSH", want{}},
		"a large size":       {"\x0bSocket-Type\xff\xff\xff\xffPUSH", want{}},
		"no name":            {"\x00\x00\x00\x00\x00", want{}},
		"rubbish behind it":  {"\x0bSocket-Type\x00\x00\x00\x04PUSH\x05x", want{}},
		"an empty name last": {"\x0bSocket-Type\x00\x00\x00\x04PUSH\x00", want{}},
	} {
		t.Run(name, func(t *testing.T) {
			if value, ok := property([]byte(c.sent), socketType); ok != c.ok || ok && value != c.value {
				t.Errorf("got %q, %v, want %q, %v", value, ok, c.value, c.ok)
			}
		})
	}
}

func TestAPingIsAnsweredWithItsContext(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		pong string // empty: it is none
		ttl  time.Duration
	}{
		"ours":               {string(ping(transport.HeartbeatTTL)), "\x04PONG", transport.HeartbeatTTL},
		"without a TTL":      {"\x04PING\x00\x00", "\x04PONG", 0},
		"with a context":     {"\x04PING\x00\x0aabc", "\x04PONGabc", time.Second},
		"the longest":        {"\x04PING\xff\xff" + strings.Repeat("x", 16), "\x04PONG" + strings.Repeat("x", 16), 65535 * 100 * time.Millisecond},
		"a longer one":       {"\x04PING\x00\x0a" + strings.Repeat("x", 17), "", 0},
		"no TTL":             {"\x04PING\x00", "", 0},
		"another command":    {"\x04PONG\x00\x00", "", 0},
		"a longer name":      {"\x05PINGS\x00\x00", "", 0},
		"nothing":            {"", "", 0},
		"a name that is cut": {"\x04PIN", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			pong, ttl, ok := answerPing([]byte(c.body))
			if string(pong) != c.pong || ttl != c.ttl || ok != (c.pong != "") {
				t.Errorf("got %q, %v, %v, want %q, %v", pong, ttl, ok, c.pong, c.ttl)
			}
		})
	}
}

func TestCommandsAreTakenApart(t *testing.T) {
	type parts struct {
		Name, Data string
		OK         bool
	}
	for body, want := range map[string]parts{
		"\x05READYxyz": {"READY", "xyz", true},
		"\x05READY":    {"READY", "", true},
		"\x05READ":     {},
		"\x00READY":    {},
		"":             {},
		"\xff":         {},
	} {
		name, data, ok := parseCommand([]byte(body))
		if d := cmp.Diff(want, parts{string(name), string(data), ok}); d != "" {
			t.Errorf("%q (-want +got):\n%s", body, d)
		}
	}
}

func TestTheNullHandshakeTakesTheOtherKindOfSocketAlone(t *testing.T) {
	for name, c := range map[string]struct {
		end  end
		body string
		want error
	}{
		"a PUSH socket where we pull": {pulling, "\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH", nil},
		"a PULL socket where we push": {pushing, "\x05READY\x0bSocket-Type\x00\x00\x00\x04PULL", nil},
		"a PULL socket where we pull": {pulling, "\x05READY\x0bSocket-Type\x00\x00\x00\x04PULL", pulling.foreign},
		"a SUB socket where we push":  {pushing, "\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB", pushing.foreign},
		"no type":                     {pushing, "\x05READY", pushing.foreign},
		"properties that are none":    {pushing, "\x05READY\x0bSocket-Type\x00\x00\x00\x09PULL", pushing.foreign},
		"ERROR":                       {pushing, "\x05ERROR\x03400", errRefusing},
		"another command":             {pushing, "\x05HELLO", errBroken},
		"no command":                  {pushing, "", errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			reply, _, err := null{c.end}.next([]byte(c.body))
			if reply != nil || !errorIs(err, c.want) {
				t.Errorf("got %q, %v, want %v", reply, err, c.want)
			}
		})
	}
}
