package codec

import (
	"math"
	"math/bits"
	"reflect"
	"time"
)

func (d *decoder) scalar(v reflect.Value, p *plan) error {
	major, extra, n, err := d.head()
	if err != nil {
		return err
	}
	switch p.op {
	case opBool:
		if major == majorOther && (extra == itemFalse&0x1f || extra == itemTrue&0x1f) {
			v.SetBool(extra == itemTrue&0x1f)
			return nil
		}
	case opInt:
		i, ok := asInt(major, n)
		if ok && !v.OverflowInt(i) {
			v.SetInt(i)
			return nil
		}
	case opUint:
		if major == majorUint && !v.OverflowUint(n) {
			v.SetUint(n)
			return nil
		}
	case opFloat32, opFloat64:
		f, ok := asFloat(major, extra, n)
		if !ok {
			var i int64
			if i, ok = asInt(major, n); ok {
				f = float64(i) // A program in another language may not tell 1 from 1.0.
				ok = exactFloat(i, p.op)
			}
		}
		if ok && !v.OverflowFloat(f) {
			v.SetFloat(f)
			return nil
		}
	case opString:
		if major == majorText {
			b, err := d.bytes(n)
			if err != nil {
				return err
			}
			if err := d.charge(len(b)); err != nil {
				return err
			}
			v.SetString(string(b))
			return nil
		}
	}
	if major == majorOther && extra == itemNull&0x1f {
		return nil
	}
	return wrong(p.typ, major)
}

// complex reads an array of the real and the imaginary part.
func (d *decoder) complex(v reflect.Value, p *plan) error {
	major, _, n, err := d.head()
	if err != nil {
		return err
	}
	if major != majorArray || n != 2 {
		return wrong(p.typ, major)
	}
	var parts [2]float64
	for i := range parts {
		if err := d.scalar(reflect.ValueOf(&parts[i]).Elem(), planOf(float64Type)); err != nil {
			return err
		}
	}
	c := complex(parts[0], parts[1])
	if v.OverflowComplex(c) {
		return wrong(p.typ, major)
	}
	v.SetComplex(c)
	return nil
}

func asInt(major byte, n uint64) (int64, bool) {
	if n > math.MaxInt64 {
		return 0, false
	}
	if major == majorNegative {
		return -1 - int64(n), true
	}
	return int64(n), major == majorUint
}

func asFloat(major, extra byte, n uint64) (float64, bool) {
	if major != majorOther {
		return 0, false
	}
	switch extra {
	case itemFloat16 & 0x1f:
		return half(uint16(n)), true
	case itemFloat32 & 0x1f:
		return float64(math.Float32frombits(uint32(n))), true
	case itemFloat64 & 0x1f:
		return math.Float64frombits(n), true
	}
	return 0, false
}

// exactFloat reports whether a float of the kind can be equal to n.
func exactFloat(n int64, kind op) bool {
	digits := 53
	if kind == opFloat32 {
		digits = 24
	}
	u := uint64(max(n, -n)) // also right for the smallest, which has no opposite
	return u == 0 || bits.Len64(u)-bits.TrailingZeros64(u) <= digits
}

// half converts an IEEE 754 number of 16 bits. We never send one, but other encoders do.
func half(h uint16) float64 {
	exp, mant := int(h>>10&0x1f), float64(h&0x3ff)
	var f float64
	switch exp {
	case 0:
		f = math.Ldexp(mant, -24)
	case 31:
		if f = math.Inf(1); mant != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(mant+1024, exp-25)
	}
	if h>>15 != 0 {
		f = math.Copysign(f, -1)
	}
	return f
}

func (d *decoder) byteString(v reflect.Value, p *plan) error {
	if p.op == opBytes && d.null() {
		return nil
	}
	major, _, n, err := d.head()
	if err != nil {
		return err
	}
	if major != majorBytes {
		return wrong(p.typ, major)
	}
	b, err := d.bytes(n)
	if err != nil {
		return err
	}
	if p.op == opBytes {
		if err := d.charge(len(b)); err != nil {
			return err
		}
		v.SetBytes(append([]byte{}, b...))
		return nil
	}
	if len(b) != v.Len() {
		return faultf(ErrMalformed, "%d bytes for %v", len(b), p.typ)
	}
	for i, c := range b {
		v.Index(i).SetUint(uint64(c))
	}
	return nil
}

func (d *decoder) timeInto(v reflect.Value) error {
	t, err := d.time()
	if err != nil {
		return err
	}
	*v.Addr().Interface().(*time.Time) = t
	_, offset := t.Zone()
	return d.chargeZone(offset)
}

// maxTimeBytes is more than any time takes, as text or in its binary form.
const maxTimeBytes = 64

// time reads tag 0 with text, or with the binary form of package time, or tag 1 with seconds since 1970.
func (d *decoder) time() (time.Time, error) {
	var t time.Time
	major, _, tag, err := d.head()
	if err != nil {
		return t, err
	}
	if major != majorTag || tag > 1 {
		return t, wrong(timeType, major)
	}
	major, extra, n, err := d.head()
	if err != nil {
		return t, err
	}
	if tag == 1 {
		if s, ok := asInt(major, n); ok {
			return time.Unix(s, 0).UTC(), nil
		}
		if f, ok := asFloat(major, extra, n); ok && math.Abs(f) < 1<<40 {
			s, frac := math.Modf(f)
			return time.Unix(int64(s), int64(frac*1e9)).UTC(), nil
		}
		return t, wrong(timeType, major)
	}
	if major != majorText && major != majorBytes {
		return t, wrong(timeType, major)
	}
	b, err := d.bytes(n)
	if err != nil {
		return t, err
	}
	switch {
	case len(b) > maxTimeBytes: // package time would repeat them in its error
	case major == majorText && t.UnmarshalText(b) == nil, major == majorBytes && t.UnmarshalBinary(b) == nil:
		return t, nil
	}
	return t, faultf(ErrMalformed, "%d bytes that are no time", len(b))
}
