//go:build least

package main

// keyed says that the library which this program was built with has no keys.
var keyed = peer{name: keyedName, base: bareCurve.name, join: func(int, []string) end {
	fail("this version of the library has no keys")
	return end{}
}}
