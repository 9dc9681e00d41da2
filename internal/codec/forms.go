package codec

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
)

// Two forms. Nodes that know no kind beyond Binary named a struct's fields by their json tags, flattened what a struct
// embeds, used methods that were promoted, and preferred text to structure. Types for which that makes a difference have
// two forms: the first, which such nodes write and read in payloads of kind Typed, and that of today, which is sent in
// payloads of kind Typed2. An old node refuses these whole, as it would not if it found unknown field names in a payload
// of a kind that it knows. A payload in which no such type occurs is the same in both, and is Typed.

// ErrFirstForm: a value that nodes which do not know kind Typed2 could not be sent without loss.
var ErrFirstForm = errors.New("cluster: value cannot be sent to a server of an earlier version")

// AppendFirst is Append for a receiver that does not know kind Typed2. It returns ErrFirstForm if the first form of v does
// not read back as v.
func AppendFirst(dst []byte, v any, lim Limits) ([]byte, Kind, error) {
	b, k, err := Append(dst, v, lim)
	if err != nil || k != Typed2 {
		return b, k, err
	}
	b, k, err = appendTyped(dst, v, lim, form{first: true})
	if errors.Is(err, ErrNotEncodable) {
		return dst, Invalid, faultf(ErrFirstForm, "%v", err)
	}
	if err != nil {
		return dst, Invalid, err
	}
	back, _, err := Decode(k, b[len(dst):], false, lim, nil)
	if errors.Is(err, ErrStopped) || errors.Is(err, ErrTooLarge) {
		return dst, Invalid, err
	}
	if err != nil {
		return dst, Invalid, faultf(ErrFirstForm, "an earlier version could not read this %T", v)
	}
	want, _, err := appendTyped(nil, v, lim, form{sorted: true})
	if err != nil {
		return dst, Invalid, err
	}
	if got, _, err := appendTyped(nil, back, lim, form{sorted: true}); errors.Is(err, ErrStopped) {
		return dst, Invalid, err
	} else if err != nil || !bytes.Equal(got, want) {
		return dst, Invalid, faultf(ErrFirstForm, "parts of this %T would not arrive", v)
	}
	return b, k, nil
}

// form is what of an encoding a caller chooses.
type form struct {
	first  bool // the first form of types that have two
	sorted bool // maps in the order of their encoded keys
}

// firstForm returns the plan of the type's first form, or nil if it is that of now.
func firstForm(now *plan, made map[reflect.Type]*plan) *plan {
	t, format := now.typ, firstFormatOf(now.typ)
	first := newPlan(t)
	switch {
	case format != opNone && format == now.op && !(format == opBinary && appendsBinary.has(t) != now.appends):
		return nil
	case format != opNone && promotesFormat(t, format):
		first.op, first.bad = opBad, "earlier versions sent only an embedded part of it"
	case t == bigFloatType:
		first.op, first.bad = opBad, "earlier versions rounded it"
	case format != opNone:
		first.form(format, made)
	case now.op == opGob && structureHides(t, map[reflect.Type]bool{}):
		first.op, first.bad = opBad, "earlier versions sent only its exported fields"
	case now.op == opComplex || t.Kind() == reflect.Uintptr && now.op == opUint:
		first.op, first.bad = opBad, "earlier versions could not send it"
	case now.op == opGob:
		first.inert = true
		first.structural(made)
	case now.op == opStruct:
		return firstStruct(now, made)
	default:
		return nil
	}
	return first
}

// promotesFormat reports whether methods of the format are promoted from beside other fields of t.
func promotesFormat(t reflect.Type, format op) bool {
	var methods []method
	switch format {
	case opCBOR:
		methods = []method{marshalCBOR, unmarshalCBOR}
	case opText:
		methods = []method{marshalText, unmarshalText}
	case opBinary:
		methods = []method{unmarshalBinary, marshalBinary}
		if appendsBinary.has(t) {
			methods[1] = appendsBinary
		}
	}
	return slices.ContainsFunc(methods, func(m method) bool { return !m.speaksFor(t) })
}

// firstStruct is firstForm for structs: nil if the same fields travelled under the same keys.
func firstStruct(now *plan, made map[reflect.Type]*plan) *plan {
	fields := firstFields(now.typ)
	same := func(a, b *field) bool { return slices.Equal(a.index, b.index) && bytes.Equal(a.key, b.key) }
	if slices.EqualFunc(fields, now.fields, same) {
		return nil
	}
	first := newPlan(now.typ)
	first.op, first.toArray, first.inert = opStruct, now.toArray, true
	first.setFields(fields, made)
	return first
}

// firstFields lists the fields of a struct's first form, by the rules that package cbor and encoding/json share: of
// fields with one name the least nested counts, then the tagged one, otherwise none. What lies behind an embedded pointer to
// an unexported struct is left out, since the receiver could not set that pointer.
func firstFields(t reflect.Type) []*field {
	var found []*field
	seen := map[reflect.Type]bool{}
	for level := []embedded{{typ: t}}; len(level) > 0; {
		var next []embedded
		times := map[reflect.Type]int{}
		for _, e := range level {
			times[e.typ]++
		}
		for _, e := range level {
			if times[e.typ] > 1 || seen[e.typ] {
				continue
			}
			seen[e.typ] = true
			for i := range e.typ.NumField() {
				f, sub := e.field(i)
				if f != nil {
					found = append(found, f)
				}
				if sub != nil {
					next = append(next, *sub)
				}
			}
		}
		level = next
	}
	return dominant(found)
}

// embedded is a struct whose fields count as those of the one that embeds it.
type embedded struct {
	typ        reflect.Type
	index      []int
	viaPointer bool
	via        []int
}

// field returns the i-th field of e, or the struct that it embeds, or neither if it did not travel.
func (e embedded) field(i int) (*field, *embedded) {
	sf := e.typ.Field(i)
	under, pointers := sf.Type, 0
	for under.Kind() == reflect.Pointer && under.Name() == "" && pointers < maxDepth {
		under = under.Elem()
		pointers++
	}
	isStruct := under.Kind() == reflect.Struct
	if !sf.IsExported() && (!sf.Anonymous || !isStruct || pointers > 0) {
		return nil, nil
	}
	tag := sf.Tag.Get("cbor")
	if tag == "" {
		tag = sf.Tag.Get("json")
	}
	f, skip := parseTag(sf, tag)
	if skip || !sf.IsExported() && f.name != "" {
		return nil, nil
	}
	f.index = append(slices.Clone(e.index), i)
	f.viaPointer, f.via = e.viaPointer, append(slices.Clone(e.via), 0)
	if sf.Anonymous && isStruct && f.name == "" {
		sub := embedded{under, f.index, e.viaPointer, f.via}
		if pointers > 0 {
			sub.viaPointer, sub.via[len(e.via)] = true, int(under.Size())
		}
		return nil, &sub
	}
	if f.name == "" {
		f.name = sf.Name
	}
	f.setKey()
	f.asksZero = f.omitZero && f.typ.Implements(isZero.iface)
	return f, nil
}

// dominant keeps one field for each name, in the order of declaration.
func dominant(found []*field) []*field {
	var kept []*field
	for _, f := range found {
		wins := true
		for _, g := range found {
			if g == f || g.name != f.name || g.keyAsInt != f.keyAsInt {
				continue
			}
			if len(g.index) < len(f.index) || len(g.index) == len(f.index) && (g.tagged || !f.tagged) {
				wins = false
				break
			}
		}
		if wins {
			kept = append(kept, f)
		}
	}
	slices.SortFunc(kept, func(a, b *field) int { return slices.Compare(a.index, b.index) })
	return kept
}

// forms encodes a type that has two forms.
func (e *encoder) forms(b []byte, v reflect.Value, p *plan, depth int) ([]byte, error) {
	if e.form.first {
		return e.value(b, v, p.first, depth)
	}
	e.second = true
	return e.value(b, v, p.now, depth)
}

// wrap marks the item at b[at:], which is what a pointer points to, if it could be taken for a pointer that is nil.
func (e *encoder) wrap(b []byte, at int, t reflect.Type) ([]byte, error) {
	null := b[at] == itemNull
	switch {
	case !null && !bytes.HasPrefix(b[at:], []byte(itemWrap)):
		return b, nil
	case e.form.first && null:
		return b, faultf(ErrNotEncodable, "a pointer to a nil %v would arrive as a nil pointer", t)
	case e.form.first:
		return b, nil
	}
	e.second = true
	return slices.Insert(b, at, []byte(itemWrap)...), nil
}

// unwrap steps over the mark that wrap has made.
func (d *decoder) unwrap() {
	if !d.inFirst && bytes.HasPrefix(d.data[d.off:], []byte(itemWrap)) {
		d.off += len(itemWrap)
	}
}

// forms decodes a type that has two. In a payload of kind Typed a struct is read in its first form, and what is no field
// of that by its name of now, so that a program in another language need not know of two kinds; of other types, what does
// not look like the first form is taken for the other.
func (d *decoder) forms(v reflect.Value, p *plan, depth int) error {
	if !d.inFirst {
		return d.value(v, p.now, depth)
	}
	switch {
	case p.first.op == opStruct && p.now.op == opStruct && !d.atNull():
		return d.eitherStruct(v, p, depth)
	case p.first.op == opText && d.off < len(d.data) && d.data[d.off]&0xe0 != majorText:
		return d.value(v, p.now, depth)
	}
	return d.value(v, p.first, depth)
}

// eitherStruct decodes a struct of which each field may be in its first form or in that of now.
func (d *decoder) eitherStruct(v reflect.Value, p *plan, depth int) error {
	if depth++; depth > maxDepth {
		return faultf(ErrMalformed, "nested deeper than %d", maxDepth)
	}
	at := d.off
	major, _, count, err := d.head()
	if err != nil {
		return err
	}
	if p.now.toArray {
		d.off = at
		if count != uint64(len(p.first.fields)) && count == uint64(len(p.now.fields)) {
			return d.structure(v, p.now, depth)
		}
		return d.structure(v, p.first, depth)
	}
	if major != majorMap {
		return wrong(p.typ, major)
	}
	n, err := d.count(count)
	if err != nil || n == 0 {
		return err
	}
	taken := takenFields{plan: p, whole: make([]bool, p.typ.NumField()), parts: make([]bool, p.typ.NumField()),
		first: make([]bool, len(p.first.fields))}
	for range n {
		f, err := taken.next(d, depth)
		if err != nil {
			return err
		}
		if f == nil {
			err = d.skip(depth)
		} else {
			err = d.field(v, f, depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takenFields knows which fields of a struct an item has held already, so that none comes twice or in both forms.
type takenFields struct {
	plan  *plan
	whole []bool // by the number of the field in the Go type
	parts []bool // likewise: fields of the struct that it embeds
	first []bool // by the number of the field in the first form
}

// next reads a key and returns the field that it names, nil for none that is known.
func (t *takenFields) next(d *decoder, depth int) (*field, error) {
	at := d.off
	j, err := d.fieldKey(t.plan.first, 0, depth)
	if err != nil {
		return nil, err
	}
	var f *field
	twice := false
	if j >= 0 {
		f = t.plan.first.fields[j]
		twice, t.first[j] = t.first[j], true
	} else {
		d.off = at
		i, err := d.fieldKey(t.plan.now, 0, depth)
		if err != nil || i < 0 {
			return nil, err
		}
		f = t.plan.now.fields[i]
	}
	outer := f.index[0]
	if len(f.index) > 1 {
		twice = twice || t.whole[outer]
		t.parts[outer] = true
	} else {
		twice = twice || t.whole[outer] || t.parts[outer]
		t.whole[outer] = true
	}
	if twice {
		return nil, faultf(ErrMalformed, "field %s of %v occurs twice", f.name, t.plan.typ)
	}
	return f, nil
}

// atNull reports whether the next item is null.
func (d *decoder) atNull() bool { return d.off < len(d.data) && d.data[d.off] == itemNull }
