package gobdiff

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"

	"github.com/abhishekg16/cluster/internal/codec"
)

// rounds is how many values of each type are tried.
const rounds = 40

// Main is the body of a program that Source wrote. It prints what it finds, then how much it tried, and exits with status 1
// if it found anything. The types of whole are compared with their unexported fields.
func Main(seed uint64, types, whole []any) {
	r := &run{maker: maker{rand: rand.New(rand.NewPCG(seed, 2)), implement: map[reflect.Type][]reflect.Type{}}, comparer: &comparer{whole: map[reflect.Type]bool{}},
		refused: map[reflect.Type]string{}}
	for _, v := range whole {
		r.comparer.whole[reflect.TypeOf(v)] = true
	}
	for _, v := range []any{[]any{}, map[string]any{}, "", 0, uint16(1), 1.5, true, []byte{}} {
		gob.Register(v)
		r.maker.pool = append(r.maker.pool, reflect.TypeOf(v))
	}
	seen := map[reflect.Type]bool{}
	var all []reflect.Type
	for _, v := range types {
		t := reflect.TypeOf(v)
		if seen[t] {
			continue
		}
		seen[t] = true
		all = append(all, t)
		name := fmt.Sprintf("type %d", len(all))
		attempt(func() error { gob.RegisterName(name, v); return nil })
		if err := attempt(func() error { codec.Register(name, v); return nil }); err != nil {
			r.refused[t] = err.Error()
		} else {
			r.maker.pool = append(r.maker.pool, t)
		}
	}
	for _, t := range all {
		r.check(t)
	}
	fmt.Printf("%d types, %d of them refused; %d values: %d equal, %d refused; gob: %d equal\n",
		len(all), len(r.refused), len(all)*rounds, r.equals, r.refusals, r.gobEquals)
	if r.findings > 0 {
		os.Exit(1)
	}
}

type run struct {
	maker    maker
	comparer *comparer
	refused  map[reflect.Type]string // by Register

	findings, equals, refusals, gobEquals int
}

func (r *run) report(t reflect.Type, v reflect.Value, format string, args ...any) {
	if r.findings++; r.findings <= 20 {
		fmt.Printf("%v: %s\n\tvalue %.300s\n\tdifference%s\n", t, fmt.Sprintf(format, args...), fmt.Sprintf("%+v", v), r.comparer.where)
	}
}

// check sends random values of one type by both. Gob is a reference where it gives back an equal value; a type that
// Register refuses is right if gob loses some of its values.
func (r *run) check(t reflect.Type) {
	gobKeepsAll := true
	for range rounds {
		v := r.maker.value(t, 0)
		viaGob, err := throughGob(v)
		gobEqual := err == nil && r.comparer.equal(v, viaGob)
		gobKeepsAll = gobKeepsAll && gobEqual
		if gobEqual {
			r.gobEquals++
		}
		if r.refused[t] != "" {
			continue
		}
		r.comparer.where = ""
		got, err := throughCodec(v, codec.Append)
		switch {
		case err == nil && r.comparer.equal(v, got):
			r.equals++
		case err == nil:
			r.report(t, v, "arrives as another value: %.300s", fmt.Sprintf("%+v", got))
		default:
			if r.refusals++; gobEqual {
				r.report(t, v, "gob sends it, and we say: %v", err)
			}
		}
		if first, err := throughCodec(v, codec.AppendFirst); err == nil && !r.comparer.equal(v, first) {
			r.report(t, v, "arrives at an old node as another value: %.300s", fmt.Sprintf("%+v", first))
		}
	}
	if reason := r.refused[t]; reason != "" && gobKeepsAll {
		r.report(t, reflect.Value{}, "gob sends all its values, and we say: %s", reason)
	}
}

func throughGob(v reflect.Value) (got reflect.Value, err error) {
	got = reflect.New(v.Type())
	err = attempt(func() error {
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).EncodeValue(v); err != nil {
			return err
		}
		return gob.NewDecoder(&b).DecodeValue(got)
	})
	return got.Elem(), err
}

func throughCodec(v reflect.Value, encode func([]byte, any, codec.Limits) ([]byte, codec.Kind, error)) (reflect.Value, error) {
	b, kind, err := encode(nil, v.Addr().Interface(), codec.Limits{})
	if err != nil {
		return v, err
	}
	got, _, err := codec.Decode(kind, b, false, codec.Limits{}, codec.NewTypes())
	if err != nil {
		return v, fmt.Errorf("refused by the receiver: %w", err)
	}
	return reflect.ValueOf(got), nil
}

// attempt makes an error of a panic.
func attempt(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New(fmt.Sprint(r))
		}
	}()
	return f()
}
