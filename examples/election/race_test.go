//go:build race

package main

// seedsTried is how many lives of the cluster the tests look at. With the race detector each takes ten times as long.
const seedsTried = 100
