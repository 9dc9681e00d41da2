package zmtp

import "bytes"

// A greeting is what each end sends first:
//
//	0     0xFF
//	1-8   padding, in which older versions of the protocol have a length
//	9     0x7F; the lowest bit tells a version from 2.0 on
//	10    major version
//	11    minor version
//	12-31 name of the mechanism, padded with zeros
//	32    1 if it is the mechanism's server
//	33-63 filler
const (
	greetingSize  = 64
	signatureSize = 10
	versionMajor  = 3
	versionMinor  = 1
)

// A greeting is the content of the 64 bytes.
type greeting struct {
	minor     byte
	mechanism string
	asServer  bool
}

// put writes a greeting of our version.
func (g greeting) put() []byte {
	b := make([]byte, greetingSize)
	b[0], b[8], b[9] = 0xff, 1, 0x7f
	b[10], b[11] = versionMajor, versionMinor
	copy(b[12:32], g.mechanism)
	if g.asServer {
		b[32] = 1
	}
	return b
}

// foreign reports whether the first bytes of a connection, however few, show that it is not
// ZMTP from version 3.0 on.
func foreign(b []byte) bool {
	return len(b) > 0 && b[0] != 0xff ||
		len(b) >= signatureSize && b[9]&1 == 0 ||
		len(b) > signatureSize && b[10] < versionMajor
}

// parseGreeting reads the 64 bytes. A peer of a later version speaks ours with us, as the
// protocol has it.
func parseGreeting(b []byte) (greeting, error) {
	if len(b) != greetingSize || foreign(b) {
		return greeting{}, errForeign
	}
	name, padding, _ := bytes.Cut(b[12:32], []byte{0})
	if len(name) == 0 || len(bytes.Trim(padding, "\x00")) > 0 {
		return greeting{}, errBroken
	}
	minor := b[11]
	if b[10] > versionMajor {
		minor = versionMinor
	}
	return greeting{minor: minor, mechanism: string(name), asServer: b[32] == 1}, nil
}
