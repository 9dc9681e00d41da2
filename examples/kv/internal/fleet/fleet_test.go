package fleet

import "testing"

// Servers of all fleets of a process have addresses of their own, whether they listen there at the moment or not.
func TestNoAddressIsGivenTwice(t *testing.T) {
	seen := make(map[string]bool)
	for range 300 {
		all, err := freeAddresses(2)
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range all {
			if seen[address] {
				t.Fatalf("%s is given twice", address)
			}
			seen[address] = true
		}
	}
}
