package codec

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// field is a field of a struct that travels. In a struct's first form it may be one of an embedded struct.
type field struct {
	// What is looked at for each value lies together.
	plan       *plan
	index      []int
	key        []byte // the key as CBOR
	viaPointer bool   // an embedded pointer, which may be nil, lies on the way
	omitEmpty  bool
	omitZero   bool
	asksZero   bool // the type's IsZero decides what omitZero leaves out
	keyAsInt   bool
	tagged     bool

	name   string
	intKey int64 // the key, if keyAsInt
	typ    reflect.Type
	bad    string // why it cannot be sent
	via    []int  // for each index the size of what an embedded pointer there points to, 0 if there is none
}

// ownFields lists the fields of a struct that travel, or says why a value of the type cannot: each exported field and
// each embedded struct, under its name in Go or that of its cbor tag. Other unexported fields stay behind.
func ownFields(t reflect.Type) (fields []*field, fault string) {
	left := 0
	names := map[string]string{}
	for i := range t.NumField() {
		sf := t.Field(i)
		if sf.Name == "_" {
			continue
		}
		f, skip := parseTag(sf, sf.Tag.Get("cbor"))
		if skip || !sf.IsExported() && !sf.Anonymous {
			left++
			continue
		}
		if f.name == "" {
			f.name = sf.Name
		}
		f.index = []int{i}
		f.setKey()
		if f.bad = unreachable(sf); f.bad == "" {
			f.asksZero = f.omitZero && f.typ.Implements(isZero.iface) && isZero.speaksFor(f.typ)
		}
		if other, taken := names[string(f.key)]; taken {
			return nil, fmt.Sprintf("its fields %s and %s both travel as %q: give one of them another name in its cbor tag",
				other, sf.Name, f.name)
		}
		names[string(f.key)] = sf.Name
		fields = append(fields, f)
	}
	if len(fields) == 0 && left > 0 {
		return nil, "it has fields, but none would arrive: export them, or give the type MarshalBinary and UnmarshalBinary"
	}
	return fields, ""
}

// unreachable says why an embedded field of unexported name cannot be sent. Package reflect lets the fields of a struct
// be set that is embedded so, and nothing else.
func unreachable(sf reflect.StructField) string {
	switch {
	case sf.IsExported():
		return ""
	case sf.Type.Kind() == reflect.Pointer:
		return "the receiver cannot set an embedded pointer to an unexported type: embed the struct itself, or export its type"
	case sf.Type.Kind() != reflect.Struct:
		return "the receiver cannot set an embedded value of unexported type: export the type, or give the field an exported name"
	case formatOf(sf.Type) != opNone:
		return "the methods of an embedded value of unexported type cannot be called: export the type"
	}
	return ""
}

func (f *field) setKey() {
	if f.keyAsInt {
		n, err := strconv.Atoi(f.name)
		if err != nil {
			f.keyAsInt = false // A name that is no number stays a name.
		} else {
			f.intKey, f.name = int64(n), strconv.Itoa(n)
		}
	}
	switch {
	case !f.keyAsInt:
		f.key = append(appendHead(nil, majorText, uint64(len(f.name))), f.name...)
	case f.intKey >= 0:
		f.key = appendHead(nil, majorUint, uint64(f.intKey))
	default:
		f.key = appendHead(nil, majorNegative, uint64(-1-f.intKey))
	}
}

func parseTag(sf reflect.StructField, tag string) (f *field, skip bool) {
	if tag == "-" {
		return nil, true
	}
	name, options, _ := strings.Cut(tag, ",")
	f = &field{name: name, typ: sf.Type, tagged: tag != ""}
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.omitZero = true
		case "keyasint":
			f.keyAsInt = true
		}
	}
	return f, false
}

// structOption looks for an option in the tag of the blank field, where package cbor has those of the whole struct.
func structOption(t reflect.Type, option string) bool {
	sf, ok := t.FieldByName("_")
	if !ok {
		return false
	}
	_, options, _ := strings.Cut(sf.Tag.Get("cbor"), ",")
	return slices.Contains(strings.Split(options, ","), option)
}

// get finds the field in v. It reports false if a nil pointer lies on the way.
func (f *field) get(v reflect.Value) (reflect.Value, bool) {
	if !f.viaPointer {
		if len(f.index) == 1 {
			return v.Field(f.index[0]), true
		}
		return v.FieldByIndex(f.index), true
	}
	for i, n := range f.index {
		for i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return v, false
			}
			v = v.Elem()
		}
		v = v.Field(n)
	}
	return v, true
}

// set finds the field in v to decode into, and makes what the pointers on the way need.
func (f *field) set(d *decoder, v reflect.Value) (reflect.Value, error) {
	if len(f.index) == 1 {
		return v.Field(f.index[0]), nil
	}
	if !f.viaPointer {
		return v.FieldByIndex(f.index), nil
	}
	for i, n := range f.index {
		for i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				if err := d.charge(int(v.Type().Elem().Size())); err != nil {
					return v, err
				}
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(n)
	}
	return v, nil
}

// chargeVia charges for the embedded pointers on the way to f that the decoder makes for it: those that it has not made
// for prev, the field before it in the encoding, if there is one. Fields are ordered by index, so those behind one
// pointer stand together.
func (f *field) chargeVia(m *meter, prev *field) error {
	common := 0
	if prev != nil {
		for common < min(len(f.index), len(prev.index)) && f.index[common] == prev.index[common] {
			common++
		}
	}
	for _, size := range f.via[common:] {
		if err := m.charge(size); err != nil {
			return err
		}
	}
	return nil
}

// omits reports whether the tag lets the field be left out.
func (f *field) omits(v reflect.Value) bool {
	if f.omitEmpty {
		switch v.Kind() {
		case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
			if v.Len() == 0 {
				return true
			}
		case reflect.Struct:
		default:
			if v.IsZero() {
				return true
			}
		}
	}
	if !f.omitZero {
		return false
	}
	if f.asksZero && (v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface || !v.IsNil()) {
		return v.Interface().(isZeroer).IsZero()
	}
	return v.IsZero()
}
