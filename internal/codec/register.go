package codec

import (
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
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
	own := formatOf(t) != opNone
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer:
		if !own || t.PkgPath() == "" {
			return fmt.Sprintf("a %v cannot be sent", t.Kind())
		}
	case reflect.Interface:
		return "an interface cannot be registered: register the types that implement it"
	case reflect.Pointer:
		return "a named pointer type cannot be registered: register what it points to"
	}
	if t.Name() == "" {
		if t.Kind() == reflect.Struct && t.NumField() > 0 {
			return "an unnamed struct type cannot be registered: give it a name"
		}
		return fmt.Sprintf("%v needs no name: leave this call out, and register only the types of your own in it", t)
	}
	if t.PkgPath() == "" {
		return fmt.Sprintf("%v needs no name: leave this call out", t)
	}
	if isPlainError(t) {
		return plainError
	}
	return unsendable(t)
}

const plainError = "the errors that errors.New, fmt.Errorf and errors.Join make cannot be registered: " +
	"send the text, err.Error(), or an error type of your own"

func isPlainError(t reflect.Type) bool {
	return (t.PkgPath() == "errors" || t.PkgPath() == "fmt") && reflect.PointerTo(t).Implements(errorType)
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

// unregistered is the sender's error. It shows the line that the program lacks, or says what keeps Register from taking the
// type. Where only the package of the type can name it, it says that; an error of another package's cannot be registered at
// all, as a rule.
func unregistered(t reflect.Type) error {
	name, pkg := cut(t.String(), maxName), t.PkgPath()
	if reason := unregistrable(t); reason != "" && !isPlainError(t) {
		return faultf(ErrNotEncodable, "type %s cannot be sent: %s", name, reason)
	}
	first, _ := utf8.DecodeRuneInString(t.Name())
	hidden := !unicode.IsUpper(first) && pkg != "main"
	if hidden && reflect.PointerTo(t).Implements(errorType) {
		return faultf(ErrUnregistered, "type %s is not registered, and only package %s can name it: "+
			"send the text of the error instead, or a registered error type of your own", name, pkg)
	}
	inPackage := strings.ReplaceAll(name, "main.", "") // package main does not name itself
	if hidden {
		inPackage = name[strings.IndexByte(name, '.')+1:]
	}
	value := fmt.Sprintf("*new(%s)", inPackage)
	switch {
	case strings.Contains(name, "/"):
		value = "a value of it" // the types in its brackets have paths, which are not how Go code names them
	case t.Kind() == reflect.Struct:
		value = inPackage + "{}"
	}
	call := fmt.Sprintf("cluster.Register(%q, %s)", name, value)
	if hidden {
		return faultf(ErrUnregistered, "type %s is not registered: call %s in package %s, which alone can name it, "+
			"or send a registered type of your own", name, call, pkg)
	}
	return faultf(ErrUnregistered, "type %s is not registered: call %s in every program that sends or receives it", name, call)
}
