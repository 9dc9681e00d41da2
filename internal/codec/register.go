package codec

import (
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"sync"
	"time"
)

// maxName bounds a registered name, in bytes.
const maxName = 255

// registry maps names to types and back. Entries are only ever added, so what was derived from one stays true.
var registry = struct {
	mu     sync.RWMutex // guards both maps
	byName map[string]reflect.Type
	byType map[reflect.Type]string
}{byName: map[string]reflect.Type{}, byType: map[reflect.Type]string{}}

func init() {
	for _, v := range []any{
		time.Time{}, time.Duration(0), time.Month(0), time.Weekday(0),
		big.Int{}, netip.Addr{}, netip.AddrPort{}, netip.Prefix{},
	} {
		Register(reflect.TypeOf(v).String(), v)
	}
}

// Register makes the type of value, or the type it points to, sendable under a name that all programs of the cluster
// agree on. It may be called at any time and concurrently with everything else; the same pair again does nothing.
// What can only be a mistake in the program panics, as in gob.Register. The types time.Time, Duration, Month and
// Weekday, big.Int, and netip.Addr, AddrPort and Prefix are registered under those names from the start.
func Register(name string, value any) {
	if name == "" {
		panic("cluster: Register: empty name")
	}
	if len(name) > maxName {
		panic(fmt.Sprintf("cluster: Register: name of %d bytes, more than %d: %.40q...", len(name), maxName, name))
	}
	if value == nil {
		panic(fmt.Sprintf("cluster: Register(%q, nil): give a value of the type to register", name))
	}
	t := reflect.TypeOf(value)
	for n := 0; t.Kind() == reflect.Pointer && t.Name() == "" && n < maxDepth; n++ {
		t = t.Elem()
	}
	if reason := unregistrable(t); reason != "" {
		panic(fmt.Sprintf("cluster: Register(%q, %v): %s", name, t, reason))
	}

	registry.mu.Lock()
	defer registry.mu.Unlock()
	if old, ok := registry.byName[name]; ok && old != t {
		panic(fmt.Sprintf("cluster: Register(%q, %v): the name is taken by %v", name, t, old))
	}
	if old, ok := registry.byType[t]; ok && old != name {
		panic(fmt.Sprintf("cluster: Register(%q, %v): the type is already registered as %q", name, t, old))
	}
	registry.byName[name], registry.byType[t] = t, name
}

// unregistrable says why a type cannot or need not be registered.
func unregistrable(t reflect.Type) string {
	own := marshalerOf(t) != opNone
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Uintptr, reflect.Complex64, reflect.Complex128:
		if !own || t.PkgPath() == "" {
			return fmt.Sprintf("a %v cannot be sent", t.Kind())
		}
	case reflect.Interface:
		return "an interface cannot be registered: register the types that implement it"
	case reflect.Pointer:
		return "a named pointer type cannot be registered: register what it points to"
	}
	if t.Name() == "" {
		if t.Kind() == reflect.Struct {
			return "an unnamed struct type cannot be registered: give it a name"
		}
		return "an unnamed type needs no registration: register only the named types in it"
	}
	if t.PkgPath() == "" {
		return "a predeclared type needs no registration"
	}
	if t.Kind() == reflect.Struct && !own && hidesAll(t) {
		return "it has fields but none is exported, so it would arrive empty: export fields, or give it MarshalBinary and UnmarshalBinary"
	}
	return ""
}

// hidesAll reports whether a struct has fields of which none would be sent.
func hidesAll(t reflect.Type) bool {
	named := 0
	for i := range t.NumField() {
		if t.Field(i).Name != "_" {
			named++
		}
	}
	return named > 0 && len(visibleFields(t)) == 0
}

func registeredName(t reflect.Type) (string, bool) {
	registry.mu.RLock()
	defer registry.mu.RUnlock()
	name, ok := registry.byType[t]
	return name, ok
}

func registeredType(name string) (reflect.Type, bool) {
	registry.mu.RLock()
	defer registry.mu.RUnlock()
	t, ok := registry.byName[name]
	return t, ok
}

// unregistered is the sender's error. It shows the line that the program lacks.
func unregistered(t reflect.Type) error {
	value := fmt.Sprintf("*new(%v)", t)
	if t.Kind() == reflect.Struct {
		value = t.String() + "{}"
	}
	return fmt.Errorf("%w: type %v is not registered: call cluster.Register(%q, %s) in every program that sends or receives it",
		ErrUnregistered, t, t.String(), value)
}
