//go:build libzmq && (!cgo || nozmq)

package sockets

// Who builds with -tags libzmq wants a program that has libzmq, and this one would not. The compiler ends the
// build here, and its message is the text: no string is a number.
var _ int = "-tags libzmq, and this build has no libzmq, which needs CGO_ENABLED=1, a C compiler, and no -tags nozmq"
