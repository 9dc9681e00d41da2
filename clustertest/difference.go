package clustertest

import (
	"fmt"
	"math"
	"reflect"
)

// difference tells what was received instead of what, with types, and where in them it is
// if that is further inside.
func difference(got, want any) string {
	s := fmt.Sprintf("got %s, want %s", typed(got), typed(want))
	if where, g, w := differ("", reflect.ValueOf(got), reflect.ValueOf(want)); where != "" {
		s += fmt.Sprintf("; at %s it is %s instead of %s", where, typed(g), typed(w))
	}
	return s
}

// typed is a value with its type, cut short.
func typed(v any) string {
	text := fmt.Sprintf("%v", v)
	switch k := reflect.ValueOf(v); k.Kind() {
	case reflect.Slice, reflect.Map:
		if k.IsNil() {
			text = "nil"
		}
	case reflect.String:
		text = fmt.Sprintf("%q", text)
	}
	if r := []rune(text); len(r) > 2*textMost {
		text = string(r[:2*textMost]) + "…"
	}
	return fmt.Sprintf("%T %s", v, text)
}

// differ finds where two values differ first: the way to there, empty if that is the whole,
// and the values.
func differ(way string, got, want reflect.Value) (string, any, any) {
	if got.IsValid() && want.IsValid() && got.Type() == want.Type() {
		switch got.Kind() {
		case reflect.Interface, reflect.Pointer:
			if !got.IsNil() && !want.IsNil() {
				return differ(way, got.Elem(), want.Elem())
			}
		case reflect.Slice, reflect.Array:
			if got.Len() != want.Len() || got.Kind() == reflect.Slice && got.IsNil() != want.IsNil() {
				break
			}
			for i := range got.Len() {
				if !same(got.Index(i), want.Index(i)) {
					return differ(fmt.Sprintf("%s[%d]", way, i), got.Index(i), want.Index(i))
				}
			}
		case reflect.Struct:
			for i := range got.NumField() {
				if got.Type().Field(i).IsExported() && !same(got.Field(i), want.Field(i)) {
					return differ(way+"."+got.Type().Field(i).Name, got.Field(i), want.Field(i))
				}
			}
		case reflect.Map:
			for _, key := range want.MapKeys() {
				if g := got.MapIndex(key); g.IsValid() && !same(g, want.MapIndex(key)) {
					return differ(fmt.Sprintf("%s[%#v]", way, key), g, want.MapIndex(key))
				}
			}
		}
	}
	return way, inside(got), inside(want)
}

// equal is reflect.DeepEqual, but that it tells -0 from 0.
func equal(got, want any) bool { return same(reflect.ValueOf(got), reflect.ValueOf(want)) }

func same(a, b reflect.Value) bool {
	return reflect.DeepEqual(inside(a), inside(b)) && sameZeros(a, b)
}

// sameZeros reports whether the zeros in two values that are equal otherwise have the same signs: 0 == -0, and they
// travel as what they are.
func sameZeros(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Float32, reflect.Float64:
		return math.Signbit(a.Float()) == math.Signbit(b.Float())
	case reflect.Complex64, reflect.Complex128:
		return math.Signbit(real(a.Complex())) == math.Signbit(real(b.Complex())) &&
			math.Signbit(imag(a.Complex())) == math.Signbit(imag(b.Complex()))
	case reflect.Interface, reflect.Pointer:
		return a.IsNil() || sameZeros(a.Elem(), b.Elem())
	case reflect.Slice, reflect.Array:
		if k := a.Type().Elem().Kind(); k <= reflect.Uintptr || k == reflect.String {
			return true // nothing in it has a sign
		}
		for i := range a.Len() {
			if !sameZeros(a.Index(i), b.Index(i)) {
				return false
			}
		}
	case reflect.Struct:
		for i := range a.NumField() {
			if !sameZeros(a.Field(i), b.Field(i)) {
				return false
			}
		}
	case reflect.Map:
		for _, key := range a.MapKeys() {
			if !sameZeros(a.MapIndex(key), b.MapIndex(key)) {
				return false
			}
		}
	}
	return true
}

// inside is what is in a value, nil if nothing is.
func inside(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	return v.Interface()
}
