//go:build race

package main

// raceEnabled lets TestMain build the program as the tests are.
const raceEnabled = true
