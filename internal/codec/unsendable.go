package codec

import (
	"fmt"
	"reflect"
	"strings"
)

// unsendable says why values of a type cannot arrive whole, if that shows without a value: it looks at all that the type
// consists of. It returns "" if nothing stands in the way.
func unsendable(t reflect.Type) string {
	path, p := planOf(t).findBad("", map[*plan]bool{})
	if p == nil {
		return ""
	}
	reason := p.bad
	switch {
	case path == "":
		return reason
	case strings.HasPrefix(path, "."):
		path = "field " + path[1:]
	default:
		path = "its part " + path
	}
	return fmt.Sprintf("%s (%v): %s; or leave the field out with the tag `cbor:\"-\"`", path, p.typ, reason)
}

// findBad looks for a part that cannot be sent, and returns it and the way there.
func (p *plan) findBad(path string, seen map[*plan]bool) (string, *plan) {
	if p == nil || seen[p] {
		return "", nil
	}
	seen[p] = true
	switch p.op {
	case opBad:
		return path, p
	case opForms:
		return p.now.findBad(path, seen)
	case opStruct:
		for _, f := range p.fields {
			// The embedded and the renamed are called as in Go.
			if path, bad := f.plan.findBad(path+"."+p.typ.Field(f.index[0]).Name, seen); bad != nil {
				return path, bad
			}
		}
	case opMap:
		if path, bad := p.key.findBad(path+"[key]", seen); bad != nil {
			return path, bad
		}
		return p.elem.findBad(path+"[]", seen)
	case opSlice, opArray:
		return p.elem.findBad(path+"[]", seen)
	case opPtr:
		return p.elem.findBad(path, seen)
	}
	return "", nil
}
