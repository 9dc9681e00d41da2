//go:build linux

package main

/*
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static void trim(void) {
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}
*/
import "C"

// trim gives back to the kernel what the C library keeps of the memory that ZeroMQ has freed. That
// depends on how much was in use at most, and so on how busy the machine was.
func trim() { C.trim() }
