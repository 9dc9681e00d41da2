package zmtp

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

// theirs is a greeting with some bytes changed.
func theirs(change func(b []byte)) []byte {
	b := greeting{mechanism: mechanismNull}.put()
	change(b)
	return b
}

func TestGreetingsOfVersion3AreUnderstood(t *testing.T) {
	for name, c := range map[string]struct {
		sent []byte
		want greeting
	}{
		"3.1":              {theirs(func([]byte) {}), greeting{minor: 1, mechanism: "NULL"}},
		"3.0":              {theirs(func(b []byte) { b[11] = 0 }), greeting{mechanism: "NULL"}},
		"a later minor":    {theirs(func(b []byte) { b[11] = 9 }), greeting{minor: 9, mechanism: "NULL"}},
		"a later major":    {theirs(func(b []byte) { b[10], b[11] = 4, 0 }), greeting{minor: 1, mechanism: "NULL"}},
		"a server":         {greeting{mechanism: "CURVE", asServer: true}.put(), greeting{minor: 1, mechanism: "CURVE", asServer: true}},
		"all of the name":  {greeting{mechanism: strings.Repeat("X", 20)}.put(), greeting{minor: 1, mechanism: strings.Repeat("X", 20)}},
		"filler":           {theirs(func(b []byte) { b[40], b[63] = 1, 2 }), greeting{minor: 1, mechanism: "NULL"}},
		"another padding":  {theirs(func(b []byte) { copy(b[1:9], "12345678") }), greeting{minor: 1, mechanism: "NULL"}},
		"other bits in 9":  {theirs(func(b []byte) { b[9] = 0x01 }), greeting{minor: 1, mechanism: "NULL"}},
		"as libzmq has it": {append([]byte("\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01NULL"), make([]byte, 48)...), greeting{minor: 1, mechanism: "NULL"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readGreeting(iotest.OneByteReader(bytes.NewReader(c.sent)))
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestWhatIsNoGreetingIsToldAsSoonAsThatIsCertain(t *testing.T) {
	for name, c := range map[string]struct {
		sent string
		want error
		read int // bytes of it
	}{
		"nothing":             {"", errUnfinished, 0},
		"a part":              {"\xff\x00\x00", errUnfinished, 3},
		"all but the last":    {string(theirs(func([]byte) {})[:63]), errUnfinished, 63},
		"HTTP":                {"GET / HTTP/1.1\r\n\r\n", errForeign, 1},
		"TLS":                 {"\x16\x03\x01\x02\x00\x01\x00", errForeign, 1},
		"1.0":                 {"\x01\x00\x02\x00x", errForeign, 1},
		"1.0, a long frame":   {"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x00", errForeign, 10},
		"2.0":                 {"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01\x08\x00\x00", errForeign, 11},
		"no name":             {string(greeting{}.put()), errBroken, 64},
		"bytes behind a name": {string(theirs(func(b []byte) { b[30] = 'x' })), errBroken, 64},
	} {
		t.Run(name, func(t *testing.T) {
			r := strings.NewReader(c.sent)
			if _, err := readGreeting(iotest.OneByteReader(r)); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if read := len(c.sent) - r.Len(); read != c.read {
				t.Errorf("%d bytes were read, want %d", read, c.read)
			}
		})
	}
}
