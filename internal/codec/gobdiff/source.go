// Package gobdiff compares package codec with encoding/gob, which is what people come from: it writes programs with
// many types, and such a program gives random values of them to both. It is used by tests alone.
package gobdiff

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Source returns a program of about n types that a seed decides. It calls Main.
func Source(seed uint64, n int) []byte {
	g := &generator{rand: rand.New(rand.NewPCG(seed, 1)), kinds: make([]typeKind, n)}
	for i := range g.kinds {
		g.kinds[i] = kindWeights[g.rand.IntN(len(kindWeights))]
	}
	g.printf("package main\n\nimport (\n")
	for _, p := range []string{"database/sql", "encoding/json", "log/slog", "math/big", "net", "net/netip", "net/url", "sync",
		"sync/atomic", "time", "github.com/abhishekg16/cluster/internal/codec/gobdiff"} {
		g.printf("\t%q\n", p)
	}
	g.printf(")\n\n%s\n", prelude)
	for g.at = range g.kinds {
		g.declare()
	}
	g.printf("\nfunc main() {\n\tgobdiff.Main(%d, []any{\n\t\tOwn{}, *new(Err), *new(sql.NullString), *new(net.IP), *new(url.URL), *new(slog.Level), *new(big.Float), *new(big.Rat),\n", seed)
	for _, name := range g.values {
		g.printf("\t\t*new(%s),\n", name)
	}
	g.printf("\t}, []any{\n\t\tOwn{},\n")
	for _, name := range g.whole {
		g.printf("\t\t*new(%s),\n", name)
	}
	g.printf("\t})\n}\n")
	return []byte(g.out.String())
}

// prelude has what every program needs: a type with a format, to be embedded, and a use of every import.
const prelude = `type Own struct {
	A int
	b string
}

func (o Own) MarshalBinary() ([]byte, error)  { return gobdiff.Pack(o.A, o.b), nil }
func (o *Own) UnmarshalBinary(p []byte) error { return gobdiff.Unpack(p, &o.A, &o.b) }

type Err string

func (e Err) Error() string { return string(e) }

var (
	_ json.RawMessage
	_ netip.Addr
	_ sync.Mutex
	_ atomic.Int64
	_ time.Time
)
`

type typeKind int

const (
	structType typeKind = iota
	genericType
	namedType
	ownType
	interfaceType
)

var kindWeights = []typeKind{structType, structType, structType, structType, structType, structType, genericType, namedType, namedType,
	ownType, ownType, interfaceType}

type generator struct {
	rand   *rand.Rand
	out    strings.Builder
	kinds  []typeKind
	at     int
	keys   []string // types that can be keys of maps
	values []string // types of which values are sent
	whole  []string // types whose unexported fields travel
}

func (g *generator) printf(format string, args ...any) { fmt.Fprintf(&g.out, format, args...) }

func (g *generator) chance(percent int) bool { return g.rand.IntN(100) < percent }

func pick[T any](g *generator, from []T) T { return from[g.rand.IntN(len(from))] }

// name is that of type i. A fifth of them are unexported.
func (g *generator) name(i int) string {
	if i%5 == 4 {
		return fmt.Sprintf("t%d", i)
	}
	return fmt.Sprintf("T%d", i)
}

func (g *generator) declare() {
	name := g.name(g.at)
	switch g.kinds[g.at] {
	case structType:
		g.printf("type %s struct {\n", name)
		g.fields(g.rand.IntN(7), func() string { return g.typ(3) })
		g.printf("}\n")
		g.values = append(g.values, name)
		g.implement(name)
	case genericType:
		g.printf("type %s[A any, B any] struct {\n", name)
		args := []string{"A", "B", "[]A", "map[string]B", "*A", "[2]B", "*" + name + "[A, B]", "[]" + name + "[A, B]"}
		g.fields(1+g.rand.IntN(4), func() string { return pick(g, args) })
		g.printf("}\n")
		for range 2 {
			g.values = append(g.values, g.instance(g.at))
		}
	case namedType:
		underlying := g.typ(2)
		for strings.HasPrefix(underlying, "*") || strings.HasPrefix(underlying, "T") || strings.HasPrefix(underlying, "t") ||
			underlying == "any" || strings.Contains(underlying, ".") || strings.HasPrefix(underlying, "struct{") {
			underlying = pick(g, []string{"[]" + g.typ(2), pick(g, basics), fmt.Sprintf("map[%s]%s", g.key(), g.typ(2)), "[3]" + g.typ(1)})
		}
		g.printf("type %s %s\n", name, underlying)
		g.values = append(g.values, name)
		for _, b := range keyBasics {
			if b == underlying {
				g.keys = append(g.keys, name)
			}
		}
		g.implement(name)
	case ownType:
		g.own(name)
		g.values = append(g.values, name)
	case interfaceType:
		g.printf("type %s interface{ M%d() }\n", name, g.at)
		g.printf("type Impl%d int8\nfunc (Impl%d) M%d() {}\n", g.at, g.at, g.at) // one at least can be held
		g.values = append(g.values, fmt.Sprintf("Impl%d", g.at))
	}
}

// implement gives a type the methods of some interfaces.
func (g *generator) implement(name string) {
	for i, k := range g.kinds {
		if k == interfaceType && g.chance(300/len(g.kinds)+1) {
			g.printf("func (%s%s) M%d() {}\n", pick(g, []string{"", "*"}), name, i)
		}
	}
}

// fields writes the fields of a struct: some embedded, some unexported, some with tags.
func (g *generator) fields(n int, typ func() string) {
	taken := map[string]bool{}
	for i := range n {
		if g.chance(20) && g.at > 0 {
			if e, name := g.embeddable(); e != "" && !taken[name] {
				taken[name] = true
				g.printf("\t%s%s\n", e, g.tag())
				continue
			}
		}
		name := fmt.Sprintf("F%d", i)
		if g.chance(10) {
			name = fmt.Sprintf("f%d", i)
		}
		g.printf("\t%s %s%s\n", name, typ(), g.tag())
	}
	if g.chance(3) {
		g.printf("\tF9 %s\n", pick(g, []string{"chan int", "func()", "sync.Mutex", "*atomic.Int64", "*time.Location"}))
	}
}

// tag is seldom anything. Those of package json mean nothing to either; that of cbor means nothing to gob.
func (g *generator) tag() string {
	if g.chance(80) {
		return ""
	}
	return pick(g, []string{" `json:\"-\"`", " `json:\"same\"`", " `json:\"F1\"`", " `json:\"f,omitempty\"`", " `json:\",omitzero\"`",
		fmt.Sprintf(" `cbor:\"c%d\"`", g.rand.IntN(1000))})
}

// embeddable returns a declared type to embed, perhaps by pointer, and the name of the field.
func (g *generator) embeddable() (typ, name string) {
	if g.chance(15) {
		return pick(g, []string{"Own", "*Own", "time.Time", "*time.Time", "net.IP", "error", "sync.Mutex", "url.URL"}), "std"
	}
	i := g.rand.IntN(g.at)
	typ, name = g.name(i), g.name(i)
	if g.kinds[i] == genericType {
		typ = g.instance(i)
	}
	if g.chance(20) && g.kinds[i] != interfaceType {
		typ = "*" + typ
	}
	return typ, name
}

// instance is an instance of the generic type i, of arguments that were declared before it.
func (g *generator) instance(i int) string {
	at := g.at
	g.at = i
	args := [2]string{g.typ(1), g.typ(1)}
	g.at = at
	return fmt.Sprintf("%s[%s, %s]", g.name(i), args[0], args[1])
}

var (
	keyBasics = []string{"bool", "int", "int8", "int64", "uint", "uint8", "uint16", "uint64", "uintptr", "string", "float64", "complex128"}
	basics    = append([]string{"int16", "int32", "uint32", "float32", "complex64"}, keyBasics...)
	standard  = []string{"time.Time", "time.Duration", "*big.Int", "*big.Float", "*big.Rat", "netip.Addr", "net.IP", "*url.URL", "url.URL",
		"json.RawMessage", "sql.NullString", "sql.Null[int]", "slog.Level", "net.IPNet", "struct{}", "Own", "*Own", "[]byte", "[4]byte"}
)

func (g *generator) key() string {
	options := append([]string{"[2]int", "[1]string", "netip.Addr", "struct{ A, B int8 }", "any", "time.Time"}, g.keys...)
	if g.chance(70) {
		return pick(g, keyBasics)
	}
	return pick(g, options)
}

// typ is any type that a field may have. What was not declared before stands behind a pointer, a slice or a map.
func (g *generator) typ(depth int) string {
	switch n := g.rand.IntN(100); {
	case n < 40 || depth == 0:
		return pick(g, basics)
	case n < 52:
		return pick(g, standard)
	case n < 57:
		return "any"
	case n < 72 && g.at > 0:
		return g.declared(g.rand.IntN(g.at))
	case n < 80:
		i := g.rand.IntN(len(g.kinds))
		if g.kinds[i] == genericType || g.kinds[i] == interfaceType {
			return "[]string"
		}
		return pick(g, []string{"*", "[]", "map[string]", "[]*", "map[int8]*"}) + g.name(i)
	case n < 84:
		return "*" + g.typ(depth-1)
	case n < 90:
		return "[]" + g.typ(depth-1)
	case n < 93:
		return fmt.Sprintf("[%d]%s", 1+g.rand.IntN(3), g.typ(depth-1))
	case n < 97:
		return fmt.Sprintf("map[%s]%s", g.key(), g.typ(depth-1))
	default:
		return fmt.Sprintf("struct{ A %s; B %s }", g.typ(depth-1), g.typ(depth-1))
	}
}

func (g *generator) declared(i int) string {
	if g.kinds[i] == genericType {
		return g.instance(i)
	}
	return g.name(i)
}
