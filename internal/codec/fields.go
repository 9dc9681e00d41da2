package codec

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// field is a field of a struct as it is seen from outside, which may be one of an embedded struct.
type field struct {
	name       string
	intKey     int64 // the key, if keyAsInt
	index      []int
	typ        reflect.Type
	plan       *plan
	key        []byte // the key as CBOR
	tagged     bool
	keyAsInt   bool
	omitEmpty  bool
	omitZero   bool
	viaPointer bool // an embedded pointer, which may be nil, lies on the way
	viaCost    int  // the size of what these pointers point to
}

// visibleFields lists the fields that are sent, by the rules that package cbor and encoding/json share: of
// fields with one name the least nested counts, then the tagged one, otherwise none. What lies behind an embedded pointer to
// an unexported struct is left out, since the receiver could not set that pointer.
func visibleFields(t reflect.Type) []*field {
	type embedded struct {
		typ        reflect.Type
		index      []int
		viaPointer bool
		viaCost    int
	}
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
				sf := e.typ.Field(i)
				under, pointers := sf.Type, 0
				for under.Kind() == reflect.Pointer && under.Name() == "" && pointers < maxDepth {
					under = under.Elem()
					pointers++
				}
				isStruct := under.Kind() == reflect.Struct
				if !sf.IsExported() && !(sf.Anonymous && isStruct) {
					continue
				}
				if !sf.IsExported() && pointers > 0 {
					continue
				}
				f, skip := parseTag(sf)
				if skip || !sf.IsExported() && f.name != "" {
					continue
				}
				f.index = append(slices.Clone(e.index), i)
				f.viaPointer, f.viaCost = e.viaPointer, e.viaCost
				if sf.Anonymous && isStruct && f.name == "" {
					sub := embedded{under, f.index, e.viaPointer, e.viaCost}
					if pointers > 0 {
						sub.viaPointer, sub.viaCost = true, e.viaCost+int(under.Size())
					}
					next = append(next, sub)
					continue
				}
				if f.name == "" {
					f.name = sf.Name
				}
				if f.keyAsInt {
					n, err := strconv.Atoi(f.name)
					if err != nil {
						f.keyAsInt = false // A name that is no number stays a name.
					} else {
						f.intKey, f.name = int64(n), strconv.Itoa(n)
					}
				}
				found = append(found, f)
			}
		}
		level = next
	}
	return dominant(found)
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
			switch {
			case !f.keyAsInt:
				f.key = append(appendHead(nil, majorText, uint64(len(f.name))), f.name...)
			case f.intKey >= 0:
				f.key = appendHead(nil, majorUint, uint64(f.intKey))
			default:
				f.key = appendHead(nil, majorNegative, uint64(-1-f.intKey))
			}
			kept = append(kept, f)
		}
	}
	slices.SortFunc(kept, func(a, b *field) int { return slices.Compare(a.index, b.index) })
	return kept
}

func parseTag(sf reflect.StructField) (f *field, skip bool) {
	tag := sf.Tag.Get("cbor")
	if tag == "" {
		tag = sf.Tag.Get("json")
	}
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
	if !f.viaPointer {
		if len(f.index) == 1 {
			return v.Field(f.index[0]), nil
		}
		return v.FieldByIndex(f.index), nil
	}
	for i, n := range f.index {
		for i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				if err := d.charge(1, int(v.Type().Elem().Size())); err != nil {
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
	if z, ok := v.Interface().(interface{ IsZero() bool }); ok && (v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface || !v.IsNil()) {
		return z.IsZero()
	}
	return v.IsZero()
}
