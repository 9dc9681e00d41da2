package cluster_test

import (
	"encoding"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
)

func TestEveryReasonRefusalAndLinkStateIsListed(t *testing.T) {
	t.Run("Reason", func(t *testing.T) {
		listed(t, cluster.AllReasons, func(text []byte) (r cluster.Reason, err error) { err = r.UnmarshalText(text); return })
		for _, r := range cluster.AllReasons() {
			if r.Err() == nil {
				t.Errorf("Send has no error for %v", r)
			}
		}
	})
	t.Run("Refusal", func(t *testing.T) {
		listed(t, cluster.AllRefusals, func(text []byte) (r cluster.Refusal, err error) { err = r.UnmarshalText(text); return })
	})
	t.Run("EventKind", func(t *testing.T) {
		listed(t, cluster.AllEventKinds, func(text []byte) (k cluster.EventKind, err error) { err = k.UnmarshalText(text); return })
	})
	t.Run("LinkState", func(t *testing.T) {
		listed(t, cluster.AllLinkStates, func(text []byte) (s cluster.LinkState, err error) { err = s.UnmarshalText(text); return })
	})
}

// listed holds a list against the constants of its type in the sources: each is in it once, in their
// order, has a name, and is read back from that. The caller may change the list that it was given.
func listed[T interface {
	~int
	fmt.Stringer
	encoding.TextMarshaler
}](t *testing.T, all func() []T, unmarshal func([]byte) (T, error)) {
	t.Helper()
	got := all()
	typeName := strings.TrimPrefix(fmt.Sprintf("%T", got[0]), "cluster.")
	constants := constantsOf(t, typeName)
	if len(got) != len(constants) {
		t.Fatalf("%d values are listed, and the sources have %d constants: %v, %v", len(got), len(constants), got, constants)
	}
	named := make(map[string]bool)
	for i, v := range got {
		if v != got[0]+T(i) {
			t.Errorf("value %d of the list is %d, after %d", i, int(v), int(got[0]))
		}
		name := v.String()
		if _, err := strconv.Atoi(name); name == "" || err == nil || named[name] {
			t.Errorf("%s has the name %q, which is none, or another's", constants[i], name)
		}
		named[name] = true
		text, err := v.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := unmarshal(text); err != nil || back != v {
			t.Errorf("%s is read back from %q as %v: %v", constants[i], text, back, err)
		}
	}
	want := slices.Clone(got)
	clear(got)
	if diff := cmp.Diff(want, all()); diff != "" {
		t.Errorf("the list shows what was done to the one before (-want +got):\n%s", diff)
	}
}

// constantsOf are the names of the exported constants of a type, in the order of the sources, each of
// which has one block of them that begins with a value of the type.
func constantsOf(t *testing.T, typeName string) (constants []string) {
	t.Helper()
	name := "stats.go"
	switch typeName {
	case "LinkState":
		name = "linkstate.go"
	case "EventKind":
		name = "events.go"
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		block, ok := d.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST {
			continue
		}
		of := ""
		for _, s := range block.Specs {
			spec := s.(*ast.ValueSpec)
			if name, ok := spec.Type.(*ast.Ident); ok {
				of = name.Name
			}
			for _, name := range spec.Names {
				if of == typeName && name.IsExported() {
					constants = append(constants, name.Name)
				}
			}
		}
	}
	if len(constants) < 2 {
		t.Fatalf("the sources have the constants %v of type %s: the test looks for them in the wrong place", constants, typeName)
	}
	return constants
}
