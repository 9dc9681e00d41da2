package peercatalog_test

import (
	"strings"
	"testing"

	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/peercatalog"
)

func newKey(t *testing.T) string {
	t.Helper()
	public, _, err := curve.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// secured is the peer with these keys.
func secured(id int, keys ...string) peercatalog.Peer {
	p := peer(id)
	p.PublicKey = keys[0]
	if len(keys) > 1 {
		p.PreviousPublicKey = keys[1]
	}
	return p
}

func TestOwnerFollowsEachChange(t *testing.T) {
	a, b, c := newKey(t), newKey(t), newKey(t)
	catalog, err := peercatalog.New(secured(1, a), secured(2, b))
	if err != nil {
		t.Fatal(err)
	}
	check := func(when, key string, want int) {
		t.Helper()
		if id, ok := catalog.Owner(key); ok != (want >= 0) || ok && id != want {
			t.Errorf("%s, the owner of a key is %d, %v, want %d", when, id, ok, want)
		}
	}
	const none = -1
	check("at first", a, 1)
	check("at first", b, 2)
	check("at first", c, none)
	check("at first", "", none)
	if err := catalog.Put(secured(1, c, a)); err != nil {
		t.Fatal(err)
	}
	check("with two keys", a, 1)
	check("with two keys", c, 1)
	if err := catalog.Put(secured(2, b, a)); err == nil || !strings.Contains(err.Error(), "is also that of peer 1") {
		t.Errorf("another's previous key: %v", err)
	}
	check("after an error", a, 1)
	if err := catalog.Put(secured(1, c)); err != nil {
		t.Fatal(err)
	}
	check("when the old one is gone", a, none)
	check("when the old one is gone", c, 1)
	if err := catalog.Put(secured(2, a)); err != nil {
		t.Fatal(err)
	}
	check("when another has it", a, 2)
	check("when another has it", b, none)
	catalog.Remove(2)
	check("when its owner is removed", a, none)
	check("when another is removed", c, 1)
}

func TestAPublicKeyThatKeepsNothingSecretIsAnError(t *testing.T) {
	good := newKey(t)
	for name, p := range map[string]peercatalog.Peer{
		"public_key": secured(1, curve.Encode([32]byte{1})), "previous_public_key": secured(1, good, curve.Encode([32]byte{1})),
	} {
		if _, err := peercatalog.New(p); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "keygen") {
			t.Errorf("%s: got %v, want an error that names it and a way out", name, err)
		}
	}
}

func TestACatalogHasKeysForAllOrForNone(t *testing.T) {
	key := newKey(t)
	const missing, given = "public_key is missing, and the peers of the catalogue have one", "public_key is given, and the peers of the catalogue have none"
	for _, c := range []struct {
		name   string
		first  []peercatalog.Peer
		remove bool
		put    peercatalog.Peer
		want   string // in the error; none if empty
	}{
		{name: "without among those with", first: []peercatalog.Peer{secured(1, key)}, put: peer(2), want: missing},
		{name: "with among those without", first: []peercatalog.Peer{peer(1)}, put: secured(2, key), want: given},
		// What connections do is decided when they are made.
		{name: "the only one loses its key", first: []peercatalog.Peer{secured(1, key)}, put: peer(1), want: missing},
		{name: "the only one gets a key", first: []peercatalog.Peer{peer(1)}, put: secured(1, key), want: given},
		{name: "without after all that had were removed", first: []peercatalog.Peer{secured(1, key)}, remove: true, put: peer(2), want: missing},
		{name: "with after all that had none were removed", first: []peercatalog.Peer{peer(1)}, remove: true, put: secured(2, key), want: given},
		{name: "the first of all", put: secured(1, key)},
	} {
		t.Run(c.name, func(t *testing.T) {
			catalog, err := peercatalog.New(c.first...)
			if err != nil {
				t.Fatal(err)
			}
			if c.remove {
				catalog.Remove(1)
			}
			version := catalog.Version()
			err = catalog.Put(c.put)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if c.want != "" && catalog.Version() != version {
				t.Error("an error has changed the catalogue")
			}
		})
	}
	if _, err := peercatalog.New(secured(1, key), peer(2)); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("New with a mixture: %v", err)
	}
}
