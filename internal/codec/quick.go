package codec

const (
	// QuickBytes is the longest payload of a typed value that Quick can be true for.
	QuickBytes = 4 << 10
	// quickSize is the size of the largest values that such a payload can have: each of them takes a byte of it at least.
	quickSize = 1 << 10
)

// Quick reports whether decoding the payload takes little time for certain: it runs no code of the program's, such as
// a type's UnmarshalBinary, and makes little of it. A false answer says nothing: a composite type that was never decoded before gets one.
func Quick(kind Kind, payload []byte) bool {
	if kind == Request {
		_, kind, payload, _ = Unwrap(payload)
	}
	return kind != Typed && kind != Typed2 && kind != Binary || quickComposite(kind, payload)
}

// quickComposite is Quick for values of types that are not built in.
func quickComposite(kind Kind, payload []byte) bool {
	if kind == Binary || len(payload) > QuickBytes || len(payload) < 2 {
		return false
	}
	n := int(payload[0]) | int(payload[1])<<8
	if n > len(payload)-2 {
		return true // it is refused at once
	}
	in := (*byExpr.Load())[string(payload[2:2+n])]
	return in != nil && in.quick
}

// quick reports whether values of the plan are decoded without code of the program's. An interface may hold any.
func (p *plan) quick(seen map[*plan]bool) bool {
	if p == nil || seen[p] {
		return true
	}
	seen[p] = true
	if p.size > quickSize {
		return false
	}
	switch p.op {
	case opBool, opInt, opUint, opFloat32, opFloat64, opString, opBytes, opByteArray, opTime, opBigInt, opComplex:
		return true
	case opForms:
		return p.now.quick(seen) && (p.first.op == opBad || p.first.quick(seen))
	case opSlice, opArray, opPtr:
		return p.elem.quick(seen)
	case opMap:
		return p.key.quick(seen) && p.elem.quick(seen)
	case opStruct:
		for _, f := range p.fields {
			if !f.plan.quick(seen) {
				return false
			}
		}
		return true
	}
	return false
}
