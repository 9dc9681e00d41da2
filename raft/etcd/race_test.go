//go:build race

package etcd_test

// raceDetector tells that the tests are built with the race detector, with which all takes ten times as long.
const raceDetector = true
