package codec

import (
	"bytes"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
)

// A type expression names a Go type in bytes:
//
//	type  = basic | "any" | name | "[]" type | "[" count "]" type | "*" type | "map[" type "]" type
//	basic = "bool" | "int" | "int8" | "int16" | "int32" | "int64" | "uint" | "uint8" | "uint16" | "uint32" | "uint64"
//	      | "uintptr" | "float32" | "float64" | "complex64" | "complex128" | "string" | "struct{}"
//	name  = count ":" the registered name, count bytes of it
//	count = decimal digits without leading zeros
//
// So []byte is "[]uint8", a type registered as "main.Foo" is "8:main.Foo", and a map from strings to slices of
// pointers to it is "map[string][]*8:main.Foo". The length in front of a name lets it hold any character. There is one
// expression for each type, without spaces. The outermost type is never a pointer, and the key of a map is never one.
const (
	maxExpr      = 512     // bytes
	maxExprDepth = 8       // nested types, the outermost counted
	maxArray     = 1 << 20 // bytes of an array type, and elements of it
)

var (
	bytesType   = reflect.TypeFor[[]byte]()
	anyType     = reflect.TypeFor[any]()
	emptyStruct = reflect.TypeFor[struct{}]()
)

var basicTypes = func() map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for _, v := range []any{
		false, int(0), int8(0), int16(0), int32(0), int64(0), uint(0), uint8(0), uint16(0), uint32(0), uint64(0),
		uintptr(0), float32(0), float64(0), complex64(0), complex128(0), "",
	} {
		m[reflect.TypeOf(v).Name()] = reflect.TypeOf(v)
	}
	return m
}()

// info is what is known about a type that stands at the top of a payload or in a box.
type info struct {
	typ     reflect.Type
	plan    *plan
	head    []byte // length and expression, as at the start of a payload
	boxHead []byte // tag 27, array of 2 and the expression, as at the start of a box
	quick   bool   // see Quick
	second  bool   // the expression is one that only receivers of Typed2 know
}

var (
	byType sync.Map // reflect.Type -> *info; types of the local program only

	exprMu sync.Mutex // held to change byExpr, and for the fields of each Types
	byExpr atomic.Pointer[map[string]*info]
)

func init() { byExpr.Store(&map[string]*info{}) }

// infoOf returns what is known about a type of a value to be sent.
func infoOf(t reflect.Type) (*info, error) {
	if in, ok := byType.Load(t); ok {
		return in.(*info), nil
	}
	expr, err := appendExpr(nil, t, 1)
	if err != nil {
		return nil, err
	}
	if len(expr) > maxExpr {
		return nil, faultf(ErrNotEncodable, "the type expression of %v takes %d bytes, more than %d: register a named type for it",
			t, len(expr), maxExpr)
	}
	in := newInfo(t, expr)
	exprMu.Lock()
	defer exprMu.Unlock()
	if old, ok := (*byExpr.Load())[string(expr)]; ok {
		in = old
	} else {
		// What this program sends it may also receive, however many types its peers have named.
		storeExpr(string(expr), in)
	}
	byType.Store(t, in)
	return in, nil
}

// storeExpr adds to byExpr, which readers use without a lock. The caller holds exprMu.
func storeExpr(expr string, in *info) {
	old := *byExpr.Load()
	m := make(map[string]*info, len(old)+1)
	for k, v := range old {
		m[k] = v
	}
	m[expr] = in
	byExpr.Store(&m)
}

func newInfo(t reflect.Type, expr []byte) *info {
	in := &info{typ: t, plan: planOf(t), second: hasEmptyStruct(t)}
	in.quick = in.plan.quick(map[*plan]bool{})
	in.head = append([]byte{byte(len(expr)), byte(len(expr) >> 8)}, expr...)
	in.boxHead = appendHead(append(in.boxHead, tagBox, boxNumber, majorArray|2), majorText, uint64(len(expr)))
	in.boxHead = append(in.boxHead, expr...)
	return in
}

// hasEmptyStruct reports whether struct{} stands in the expression of t.
func hasEmptyStruct(t reflect.Type) bool {
	if t.Name() != "" {
		return false
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Pointer:
		return hasEmptyStruct(t.Elem())
	case reflect.Map:
		return hasEmptyStruct(t.Key()) || hasEmptyStruct(t.Elem())
	}
	return t == emptyStruct
}

// names notes that a type expression is written.
func (e *encoder) names(in *info) error {
	e.second = e.second || in.second
	if in.second && e.form.first {
		return faultf(ErrNotEncodable, "struct{} had no type expression in earlier versions")
	}
	return nil
}

// appendExpr writes the expression of t, or says why it has none.
func appendExpr(b []byte, t reflect.Type, depth int) ([]byte, error) {
	if depth > maxExprDepth {
		return nil, faultf(ErrNotEncodable, "type nested deeper than %d: register a named type for it", maxExprDepth)
	}
	if name, ok := registeredName(t); ok {
		b = strconv.AppendInt(b, int64(len(name)), 10)
		return append(append(b, ':'), name...), nil
	}
	if t == anyType {
		return append(b, "any"...), nil
	}
	if t == emptyStruct {
		return append(b, "struct{}"...), nil
	}
	if t.PkgPath() == "" && t.Name() != "" && basicTypes[t.Name()] == t {
		return append(b, t.Name()...), nil
	}
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer:
		if t.PkgPath() == "" || formatOf(t) == opNone {
			return nil, faultf(ErrNotEncodable, "a %v (type %v)", t.Kind(), t)
		}
	case reflect.Interface:
		return nil, faultf(ErrNotEncodable, "elements of interface type %v: use any, or a registered struct with a field of this type",
			t)
	}
	if t.Name() != "" {
		return nil, unregistered(t)
	}
	switch t.Kind() {
	case reflect.Slice:
		return appendExpr(append(b, "[]"...), t.Elem(), depth+1)
	case reflect.Array:
		if t.Len() > maxArray || t.Size() > maxArray {
			return nil, faultf(ErrNotEncodable, "array type %v is over %d bytes: use a slice", t, maxArray)
		}
		b = strconv.AppendInt(append(b, '['), int64(t.Len()), 10)
		return appendExpr(append(b, ']'), t.Elem(), depth+1)
	case reflect.Pointer:
		return appendExpr(append(b, '*'), t.Elem(), depth+1)
	case reflect.Map:
		if holdsPointer(t.Key()) {
			return nil, faultf(ErrNotEncodable, "%v has pointers as keys", t)
		}
		b, err := appendExpr(append(b, "map["...), t.Key(), depth+1)
		if err != nil {
			return nil, err
		}
		return appendExpr(append(b, ']'), t.Elem(), depth+1)
	default:
		return nil, faultf(ErrNotEncodable, "unnamed type %v: give it a name and register it", t)
	}
}

// typeTree is a parsed expression. The kind is 0 for a type that exists, or one of 's'lice, 'a'rray, '*' and 'm'ap.
type typeTree struct {
	kind      byte
	typ       reflect.Type // if kind is 0
	count     int          // of an array
	key, elem *typeTree
	scratch   reflect.Value // if kind is 0: what check decodes into
}

// exist makes x a type that exists if it stands for []byte, []any or map[string]any, which every program has.
func (x *typeTree) exist() {
	for _, t := range []reflect.Type{bytesType, anySliceType, anyMapType} {
		isSlice := x.kind == 's' && t.Kind() == reflect.Slice
		isMap := x.kind == 'm' && t.Kind() == reflect.Map && x.key.typ == t.Key()
		if x.elem.typ == t.Elem() && (isSlice || isMap) {
			*x = typeTree{typ: t}
			return
		}
	}
}

func parseExpr(s []byte, depth int) (*typeTree, []byte, error) {
	bad := func() (*typeTree, []byte, error) {
		return nil, nil, faultf(ErrMalformed, "a type expression that is none %d bytes before its end", len(s))
	}
	if depth > maxExprDepth || len(s) == 0 {
		return bad()
	}
	elem := func(x *typeTree, rest []byte) (*typeTree, []byte, error) {
		var err error
		if x.elem, rest, err = parseExpr(rest, depth+1); err == nil {
			x.exist()
		}
		return x, rest, err
	}
	switch {
	case bytes.HasPrefix(s, []byte("[]")):
		return elem(&typeTree{kind: 's'}, s[2:])
	case s[0] == '*':
		return elem(&typeTree{kind: '*'}, s[1:])
	case s[0] == '[':
		n, rest, ok := parseCount(s[1:], ']')
		if !ok || n > maxArray {
			return bad()
		}
		return elem(&typeTree{kind: 'a', count: n}, rest)
	case bytes.HasPrefix(s, []byte("map[")):
		key, rest, err := parseExpr(s[4:], depth+1)
		if err != nil {
			return nil, nil, err
		}
		if len(rest) == 0 || rest[0] != ']' || key.kind == '*' || key.kind == 's' || key.kind == 'm' {
			return bad()
		}
		return elem(&typeTree{kind: 'm', key: key}, rest[1:])
	case s[0] >= '0' && s[0] <= '9':
		n, rest, ok := parseCount(s, ':')
		if !ok || n == 0 || n > maxName || n > len(rest) {
			return bad()
		}
		t, ok := registeredType(string(rest[:n]))
		if !ok {
			return nil, nil, faultf(ErrUnregistered,
				"a type that its sender has registered as %.64q, and this program has not: call cluster.Register with that name here, too",
				rest[:n])
		}
		return &typeTree{typ: t}, rest[n:], nil
	}
	if bytes.HasPrefix(s, []byte("struct{}")) {
		return &typeTree{typ: emptyStruct}, s[len("struct{}"):], nil
	}
	n := 0
	for n < len(s) && (s[n] >= 'a' && s[n] <= 'z' || s[n] >= '0' && s[n] <= '9') {
		n++
	}
	if string(s[:n]) == "any" {
		return &typeTree{typ: anyType}, s[n:], nil
	}
	if t, ok := basicTypes[string(s[:n])]; ok {
		return &typeTree{typ: t}, s[n:], nil
	}
	return bad()
}

// parseCount reads decimal digits up to the delimiter. One number has one spelling, so that a type has one expression.
func parseCount(s []byte, end byte) (n int, rest []byte, ok bool) {
	i := 0
	for i < len(s) && i < 8 && s[i] >= '0' && s[i] <= '9' {
		n = n*10 + int(s[i]-'0')
		i++
	}
	if i == 0 || i == len(s) || s[i] != end || (s[0] == '0' && i > 1) {
		return 0, nil, false
	}
	return n, s[i+1:], true
}
