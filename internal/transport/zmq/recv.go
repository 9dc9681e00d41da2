package zmq

/*
#cgo !windows pkg-config: libzmq
#cgo windows LDFLAGS: -lzmq
#include <errno.h>
#include <stdlib.h>
#include <zmq.h>

typedef struct {
	void *data;
	size_t size;
	int more;
	int error;         // of zmq_errno; 0: there is a message
	const char *user;  // the property User-Id, or NULL
} cluster_part;

// cluster_recv lets go of the part in msg and receives the next one there.
static cluster_part cluster_recv(void *socket, zmq_msg_t *msg, int keyed) {
	cluster_part p = {0};
	zmq_msg_close(msg);
	zmq_msg_init(msg);
	// A signal may interrupt any part, also one that is there.
	while (zmq_msg_recv(msg, socket, ZMQ_DONTWAIT) < 0) {
		if (zmq_errno() == EINTR)
			continue;
		p.error = zmq_errno();
		return p;
	}
	p.data = zmq_msg_data(msg);
	p.size = zmq_msg_size(msg);
	p.more = zmq_msg_more(msg);
	if (keyed)
		p.user = zmq_msg_gets(msg, "User-Id");
	return p;
}

static zmq_msg_t *cluster_msg_new(void) {
	zmq_msg_t *msg = malloc(sizeof(zmq_msg_t));
	if (msg != NULL)
		zmq_msg_init(msg);
	return msg;
}

static void cluster_msg_free(zmq_msg_t *msg) {
	zmq_msg_close(msg);
	free(msg);
}

#cgo noescape cluster_recv
#cgo nocallback cluster_recv
*/
import "C"

import (
	"reflect"
	"syscall"
	"unsafe"

	zmq4 "github.com/pebbe/zmq4"
)

// A receiver takes messages from a socket part by part, each with one call of C. A
// part stays in ZeroMQ's memory until the next one is received: its owner copies it
// once, to where it belongs.
type receiver struct {
	socket unsafe.Pointer
	msg    *C.zmq_msg_t // in C's memory
	keyed  bool         // the connections have keys
}

// part is a part of a message. Its data is valid until the next one is received.
type part struct {
	data []byte
	more bool
	user []byte // the property User-Id of its sender's connection; likewise
}

func newReceiver(s *zmq4.Socket, keyed bool) *receiver {
	return &receiver{socket: pointer(s), msg: C.cluster_msg_new(), keyed: keyed}
}

// pointer is ZeroMQ's own socket. The binding does not hand it out, and its ways to
// receive copy each part to memory of their own, with several calls of C.
func pointer(s *zmq4.Socket) unsafe.Pointer {
	return reflect.ValueOf(s).Elem().FieldByName("soc").UnsafePointer()
}

// next receives a part without waiting. The error is a zmq4.Errno.
func (r *receiver) next() (part, error) {
	keyed := C.int(0)
	if r.keyed {
		keyed = 1
	}
	p := C.cluster_recv(r.socket, r.msg, keyed)
	if p.error != 0 {
		return part{}, zmq4.Errno(syscall.Errno(p.error))
	}
	var user []byte
	if p.user != nil {
		const most = 256 // ours is shorter
		text := unsafe.Slice((*byte)(unsafe.Pointer(p.user)), most)
		for n, c := range text {
			if c == 0 {
				user = text[:n]
				break
			}
		}
	}
	return part{unsafe.Slice((*byte)(p.data), int(p.size)), p.more != 0, user}, nil
}

// close comes before the socket's own.
func (r *receiver) close() {
	C.cluster_msg_free(r.msg)
	r.msg = nil
}
