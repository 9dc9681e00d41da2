package bind

// A Claim is the right to the path of an ipc endpoint. Windows has none, and none is needed: a
// socket that somebody listens on cannot be removed there.
type Claim struct{}

// Path returns nil, which has all methods.
func Path(string) (*Claim, error) { return nil, nil }

// Made does nothing.
func (*Claim) Made() error { return nil }

// Vacate does nothing.
func (*Claim) Vacate() {}

// Release does nothing.
func (*Claim) Release() {}
