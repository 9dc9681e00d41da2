package codec

import (
	"encoding"
	"math/big"
	"reflect"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
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
	opCBOR   // the type's MarshalCBOR and UnmarshalCBOR
	opBinary // the type's MarshalBinary and UnmarshalBinary
	opText   // the type's MarshalText and UnmarshalText
	opBad    // channels and the like
)

// plan is what reflection found out about a static type, once. Plans of recursive types point to each other.
type plan struct {
	typ  reflect.Type
	op   op
	elem *plan // of slices, arrays, maps and pointers
	key  *plan // of maps

	// Of structs.
	fields  []*field
	byName  map[string]int
	byInt   map[int64]int
	toArray bool
	varying bool // the number of fields that are written depends on the value

	// inert says that no method of the user's ever sees the address of such a value, or of one that lies within it. What
	// it was decoded into may then be used again.
	inert bool
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	bigIntType = reflect.TypeFor[big.Int]()

	cborMarshaler     = reflect.TypeFor[cbor.Marshaler]()
	cborUnmarshaler   = reflect.TypeFor[cbor.Unmarshaler]()
	binaryMarshaler   = reflect.TypeFor[encoding.BinaryMarshaler]()
	binaryAppender    = reflect.TypeFor[encoding.BinaryAppender]()
	binaryUnmarshaler = reflect.TypeFor[encoding.BinaryUnmarshaler]()
	textMarshaler     = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// has reports whether t, or a pointer to it, implements the interface.
func has(t, iface reflect.Type) bool {
	return t.Implements(iface) || reflect.PointerTo(t).Implements(iface)
}

// marshalerOf says which encoding of its own a type brings, opNone if none.
func marshalerOf(t reflect.Type) op {
	switch {
	case t == timeType:
		return opTime
	case t == bigIntType:
		return opBigInt
	case t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer:
		return opNone
	case has(t, cborMarshaler) && has(t, cborUnmarshaler):
		return opCBOR
	case (has(t, binaryMarshaler) || has(t, binaryAppender)) && has(t, binaryUnmarshaler):
		return opBinary
	case has(t, textMarshaler) && has(t, textUnmarshaler):
		return opText
	}
	return opNone
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
	p := &plan{typ: t, op: marshalerOf(t)}
	made[t] = p
	if p.op != opNone {
		p.inert = p.op == opTime || p.op == opBigInt
		return p
	}
	p.inert = true
	switch t.Kind() {
	case reflect.Bool:
		p.op = opBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.op = opInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		p.op = opUint
	case reflect.Float32:
		p.op = opFloat32
	case reflect.Float64:
		p.op = opFloat64
	case reflect.String:
		p.op = opString
	case reflect.Slice:
		p.elem = makePlan(t.Elem(), made)
		p.op = opSlice
		if t.Elem().Kind() == reflect.Uint8 && p.elem.op == opUint {
			p.op = opBytes
		}
	case reflect.Array:
		p.elem = makePlan(t.Elem(), made)
		p.op, p.inert = opArray, p.elem.inert
		if t.Elem().Kind() == reflect.Uint8 && p.elem.op == opUint {
			p.op = opByteArray
		}
	case reflect.Map:
		p.key, p.elem = makePlan(t.Key(), made), makePlan(t.Elem(), made)
		p.op = opMap
		if t.Key().Kind() == reflect.Pointer {
			p.op = opBad // the receiver could find nothing in such a map
		}
	case reflect.Pointer:
		p.elem = makePlan(t.Elem(), made)
		p.op = opPtr
	case reflect.Interface:
		p.op = opIface
	case reflect.Struct:
		p.structure(made)
	default:
		p.op = opBad
	}
	return p
}

func (p *plan) structure(made map[reflect.Type]*plan) {
	p.op = opStruct
	p.fields = visibleFields(p.typ)
	p.toArray = structOption(p.typ, "toarray")
	p.byName, p.byInt = map[string]int{}, map[int64]int{}
	for i, f := range p.fields {
		f.plan = makePlan(f.typ, made)
		if f.keyAsInt {
			p.byInt[f.intKey] = i
		} else {
			p.byName[f.name] = i
		}
		p.varying = p.varying || f.omitEmpty || f.omitZero || f.viaPointer
		p.inert = p.inert && f.plan.inert
	}
}

// mapEntry is roughly what an entry of a map takes, with its share of the table.
func mapEntry(t reflect.Type) int {
	return int(t.Key().Size()) + int(t.Elem().Size()) + 16
}
