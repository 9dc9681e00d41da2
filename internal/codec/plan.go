package codec

import (
	"fmt"
	"reflect"
	"sync"
)

// op is what encoding and decoding do with a type.
type op uint8

const (
	opNone op = iota
	opBool
	opInt
	opUint
	opFloat32
	opFloat64
	opString
	opBytes
	opByteArray
	opSlice
	opArray
	opMap
	opPtr
	opIface
	opStruct
	opTime
	opBigInt
	opComplex
	opCBOR   // the type's MarshalCBOR and UnmarshalCBOR
	opBinary // the type's AppendBinary or MarshalBinary, and UnmarshalBinary
	opGob    // the type's GobEncode and GobDecode
	opText   // the type's MarshalText and UnmarshalText
	opForms  // two forms: see forms.go
	opBad    // channels and the like
)

// plan is what reflection found out about a static type, once. Plans of recursive types point to each other.
type plan struct {
	typ  reflect.Type
	op   op
	bad  string // why no value can be sent, if op is opBad
	elem *plan  // of slices, arrays, maps and pointers
	key  *plan  // of maps
	costs

	// mergeable, of maps: two keys that differ may arrive as one.
	mergeable bool
	// appends, of opBinary: by AppendBinary, not MarshalBinary.
	appends bool
	// verify, of opBinary and opText: the type's methods are known to lose parts of some values.
	verify bool

	// Of opForms.
	now, first *plan

	// Of structs.
	fields  []*field
	byName  map[string]int
	byInt   map[int64]int
	toArray bool
	varying bool // the number of fields that are written depends on the value

	// inert says that no method of the user's ever sees the address of such a value, or of one that lies within it. What
	// it was decoded into may then be used again.
	inert bool
	spare *sync.Pool // of pointers to zero values, if inert
}

var (
	plans   sync.Map   // reflect.Type -> *plan, complete ones only
	plansMu sync.Mutex // held while plans are made
)

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	plansMu.Lock()
	defer plansMu.Unlock()
	made := map[reflect.Type]*plan{}
	p := makePlan(t, made)
	for t, p := range made {
		plans.Store(t, p)
	}
	return p
}

// makePlan analyses t. The types being analysed are in made already, so that recursive ones come to an end.
func makePlan(t reflect.Type, made map[reflect.Type]*plan) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	if p, ok := made[t]; ok {
		return p
	}
	p := newPlan(t)
	made[t] = p
	p.form(formatOf(t), made)
	if first := firstForm(p, made); first != nil {
		now := *p
		*p = *newPlan(t)
		p.op, p.now, p.first, p.inert = opForms, &now, first, now.inert && first.inert
	}
	return p
}

func newPlan(t reflect.Type) *plan {
	return &plan{typ: t, costs: costsOf(t), spare: new(sync.Pool)}
}

// form completes the plan for a type whose format is known.
func (p *plan) form(format op, made map[reflect.Type]*plan) {
	t := p.typ
	switch p.op = format; format {
	case opNone:
		p.inert = true
		p.structural(made)
	case opTime, opBigInt:
		p.inert = true
	case opBinary:
		p.appends = appendsBinary.speaksFor(t)
		p.verify = unmarshalBinary.declarer(t) == urlType
	case opText:
		p.verify = true
	}
}

// structural is form for a type that travels by its structure.
func (p *plan) structural(made map[reflect.Type]*plan) {
	t := p.typ
	switch t.Kind() {
	case reflect.Bool:
		p.op = opBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.op = opInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		p.op = opUint
	case reflect.Float32:
		p.op = opFloat32
	case reflect.Float64:
		p.op = opFloat64
	case reflect.Complex64, reflect.Complex128:
		p.op = opComplex
	case reflect.String:
		p.op = opString
	case reflect.Slice, reflect.Array:
		p.sequence(made)
	case reflect.Map:
		p.key, p.elem = makePlan(t.Key(), made), makePlan(t.Elem(), made)
		p.op, p.mergeable = opMap, mergeable(t.Key())
		if holdsPointer(t.Key()) {
			p.op, p.bad = opBad, "a map whose keys are or hold pointers cannot be sent: the receiver could find nothing in it"
		}
	case reflect.Pointer:
		p.elem = makePlan(t.Elem(), made)
		p.op = opPtr
	case reflect.Interface:
		p.op = opIface
	case reflect.Struct:
		p.structure(made)
	default:
		p.op, p.bad = opBad, fmt.Sprintf("a %v cannot be sent", t.Kind())
	}
}

func (p *plan) sequence(made map[reflect.Type]*plan) {
	elem := p.typ.Elem()
	p.elem = makePlan(elem, made)
	isBytes := isByte(p.elem)
	if p.typ.Kind() == reflect.Slice {
		if p.op = opSlice; isBytes {
			p.op = opBytes
		}
		return
	}
	p.inert = p.elem.inert
	if p.op = opArray; isBytes {
		p.op = opByteArray
	}
}

// isByte reports whether slices and arrays of such elements are byte strings.
func isByte(elem *plan) bool { return elem.op == opUint && elem.typ.Kind() == reflect.Uint8 }

func (p *plan) structure(made map[reflect.Type]*plan) {
	p.op = opStruct
	p.toArray = structOption(p.typ, "toarray")
	fields, fault := ownFields(p.typ)
	if fault != "" {
		p.op, p.bad = opBad, fault
		return
	}
	p.setFields(fields, made)
}

// setFields is the part of structure that both forms of a struct share.
func (p *plan) setFields(fields []*field, made map[reflect.Type]*plan) {
	p.fields = fields
	p.byName, p.byInt = map[string]int{}, map[int64]int{}
	for i, f := range p.fields {
		if f.bad != "" {
			f.plan = newPlan(f.typ)
			f.plan.op, f.plan.bad = opBad, f.bad
		} else {
			f.plan = makePlan(f.typ, made)
		}
		if f.keyAsInt {
			p.byInt[f.intKey] = i
		} else {
			p.byName[f.name] = i
		}
		p.varying = p.varying || f.omitEmpty || f.omitZero || f.viaPointer
		p.inert = p.inert && f.plan.inert
	}
}

// holdsPointer reports whether a key of type t has an identity that does not travel.
func holdsPointer(t reflect.Type) bool {
	if formatOf(t) != opNone {
		return false
	}
	switch t.Kind() {
	case reflect.Pointer:
		return true
	case reflect.Array:
		return holdsPointer(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.Tag.Get("cbor") != "-" && (f.IsExported() || f.Anonymous) && holdsPointer(f.Type) {
				return true
			}
		}
	}
	return false
}

// mergeable reports whether two different keys of type t may have one encoding: what tells them apart stays behind.
func mergeable(t reflect.Type) bool {
	if formatOf(t) != opNone {
		return true
	}
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Array:
		return mergeable(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Name != "_" && (f.Tag.Get("cbor") == "-" || !f.IsExported() || mergeable(f.Type)) {
				return true
			}
		}
	}
	return false
}
