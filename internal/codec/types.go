package codec

import (
	"math/bits"
	"reflect"
)

// Types is what the payloads of one sender have made this process keep. Package reflect never forgets a type that it
// has made, nor do we, so each sender may cause a limited number: what one has used up is no other's loss. The rules:
//
//   - A type that the process knows is free, whoever has named it first: named types and basic ones, those that this
//     program has sent, and composite ones that were made before.
//   - So are a slice of a basic or named type, of []byte, []any or map[string]any, and a map from a basic type to one
//     of these, also of pointers to them. There are not many: 30 for each type that the program has registered.
//   - Any other is charged with what it takes, once a value of its form was seen (what lies in interfaces and in named
//     types is not looked at for that). What is refused before costs nothing, and leaves nothing behind.
//
// A Types belongs to a sender for as long as it may send, over all of its incarnations: who began anew with each could
// be made to keep any number. It may be used concurrently.
type Types struct {
	left int // bytes, guarded by exprMu
}

const (
	// typesPerSender is what the types that one sender names may take, in bytes.
	typesPerSender = 1 << 20
	// typeBytes is what a composite type takes in package reflect and here: 1 to 2.5 KB were measured.
	typeBytes = 3 << 10
	// maskShare is the share of an array's size that the collector's map of its pointers takes.
	maskShare = 64
)

// NewTypes is for one sender.
func NewTypes() *Types { return &Types{left: typesPerSender} }

// take sets n bytes aside. The caller holds exprMu.
func (t *Types) take(n int) error {
	switch {
	case n == 0:
	case t == nil:
		return faultf(ErrMalformed, "a composite type that this program does not know")
	case n > t.left:
		return faultf(ErrMalformed, "a new composite type, after its sender has named others that take %d bytes here",
			typesPerSender-t.left)
	default:
		t.left -= n
	}
	return nil
}

// resolve finds the type that an expression names, which the next item has. The expression may be hostile.
func (d *decoder) resolve(expr []byte) (*info, error) {
	if in, ok := (*byExpr.Load())[string(expr)]; ok {
		return in, nil
	}
	if len(expr) > maxExpr {
		return nil, faultf(ErrMalformed, "type expression of %d bytes", len(expr))
	}
	x, rest, err := parseExpr(expr, 1)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 || x.kind == '*' {
		return nil, faultf(ErrMalformed, "type expression of %d bytes that is none, or of a pointer", len(expr))
	}
	if _, _, err := x.measure(); err != nil {
		return nil, err
	}
	n := x.charge()
	if n > 0 {
		// No type is made for what is not going to be decoded.
		if err := d.types.room(n); err != nil {
			return nil, err
		}
		try := *d
		if err := try.check(x, 0); err != nil {
			return nil, err
		}
	}
	exprMu.Lock()
	defer exprMu.Unlock()
	if in, ok := (*byExpr.Load())[string(expr)]; ok {
		return in, nil
	}
	if err := d.types.take(n); err != nil {
		return nil, err
	}
	in := newInfo(x.make(), expr)
	storeExpr(string(expr), in)
	return in, nil
}

// resolveName is resolve for where only a name is of use: composite types have no methods.
func (d *decoder) resolveName(expr []byte) (*info, error) {
	if len(expr) == 0 || expr[0] < '0' || expr[0] > '9' {
		return nil, faultf(ErrMalformed, "a type without a name, in a payload of its own form")
	}
	return d.resolve(expr)
}

// room reports whether take would fail.
func (t *Types) room(n int) error {
	exprMu.Lock()
	defer exprMu.Unlock()
	if err := t.take(n); err != nil {
		return err
	}
	t.left += n
	return nil
}

// measure returns the size of the type that x stands for, and whether it can be the key of a map. All that package
// reflect would panic about is an error.
func (x *typeTree) measure() (size uintptr, comparable bool, err error) {
	if x.kind == 0 {
		return x.typ.Size(), x.typ.Comparable(), nil
	}
	size, comparable, err = x.elem.measure()
	if err != nil {
		return 0, false, err
	}
	const word = bits.UintSize / 8
	switch x.kind {
	case 's':
		return 3 * word, false, nil
	case '*':
		return word, true, nil
	case 'a':
		if size > 0 && uintptr(x.count) > maxArray/size {
			return 0, false, faultf(ErrMalformed, "an array type of %d times %d bytes, more than %d", x.count, size, maxArray)
		}
		return uintptr(x.count) * size, comparable, nil
	}
	if _, comparable, err = x.key.measure(); err == nil && !comparable {
		err = faultf(ErrMalformed, "a type that cannot be the key of a map")
	}
	return word, false, err
}

// shallow reports whether x is free: of those types there are not many.
func (x *typeTree) shallow() bool {
	switch x.kind {
	case 's':
	case 'm':
		if x.key.kind != 0 || basicTypes[x.key.typ.Name()] != x.key.typ {
			return false
		}
	default:
		return x.kind == 0
	}
	return x.elem.kind == 0 || x.elem.kind == '*' && x.elem.elem.kind == 0
}

// charge is what making the type that x stands for takes, without what is free.
func (x *typeTree) charge() int {
	if x.shallow() {
		return 0
	}
	n := typeBytes + x.elem.charge()
	if x.kind == 'm' {
		n += x.key.charge()
	}
	if x.kind == 'a' {
		size, _, _ := x.measure()
		n += int(size) / maskShare
	}
	return n
}

// make makes the type. It cannot fail after measure did not.
func (x *typeTree) make() reflect.Type {
	switch x.kind {
	case 0:
		return x.typ
	case 's':
		return reflect.SliceOf(x.elem.make())
	case '*':
		return reflect.PointerTo(x.elem.make())
	case 'a':
		return reflect.ArrayOf(x.count, x.elem.make())
	default:
		return reflect.MapOf(x.key.make(), x.elem.make())
	}
}

// check steps over the next item if it has the form of a value of the type that x stands for, which need not have been
// made: slices, arrays, maps, and the scalars in them. What is in an interface or of a registered type is looked at
// when it is decoded; here it would have to be decoded twice, by methods of the program among others.
func (d *decoder) check(x *typeTree, depth int) error {
	if x.kind == 0 {
		p := planOf(x.typ)
		if p.op > opString {
			return d.skip(depth)
		}
		if !x.scratch.IsValid() {
			x.scratch = reflect.New(x.typ).Elem()
		}
		return d.scalar(x.scratch, p)
	}
	if depth++; depth > maxDepth {
		return faultf(ErrMalformed, "nested deeper than %d", maxDepth)
	}
	if x.kind != 'a' && d.null() {
		return nil
	}
	if x.kind == '*' {
		return d.check(x.elem, depth)
	}
	major, _, n, err := d.head()
	if err != nil {
		return err
	}
	if x.kind == 'a' && n != uint64(x.count) {
		return faultf(ErrMalformed, "%d elements for an array type of %d", n, x.count)
	}
	want := byte(majorArray)
	switch {
	case x.kind == 'm':
		want = majorMap
	case x.elem.kind == 0 && isByte(planOf(x.elem.typ)):
		want = majorBytes
	}
	if major != want {
		return faultf(ErrMalformed, "item of CBOR major type %d where %d is wanted", major>>5, want>>5)
	}
	if want == majorBytes {
		_, err = d.bytes(n)
		return err
	}
	items, err := d.count(n)
	if err != nil {
		return err
	}
	for range items {
		if err := d.step(); err != nil {
			return err
		}
		if x.kind == 'm' {
			if err := d.check(x.key, depth); err != nil {
				return err
			}
		}
		if err := d.check(x.elem, depth); err != nil {
			return err
		}
	}
	return nil
}
