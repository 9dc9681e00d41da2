//go:build !race

package main

// seedsTried is how many lives of the cluster the tests look at.
const seedsTried = 1000
