//go:build cgo && !nozmq

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
	int skipped;       // messages that were passed over before it
	const char *user;  // the property User-Id, or NULL
} cluster_part;

// cluster_next lets go of the part in msg and receives the next one there. It returns an errno.
static int cluster_next(void *socket, zmq_msg_t *msg) {
	zmq_msg_close(msg);
	zmq_msg_init(msg);
	// A signal may interrupt any part, also one that is there.
	while (zmq_msg_recv(msg, socket, ZMQ_DONTWAIT) < 0)
		if (zmq_errno() != EINTR)
			return zmq_errno();
	return 0;
}

// cluster_recv receives a part. Before a message it passes over those whose first part is
// shorter than least, up to most of them; if there are so many it returns without a part.
static cluster_part cluster_recv(void *socket, zmq_msg_t *msg, int keyed, size_t least, int most) {
	cluster_part p = {0};
	while ((p.error = cluster_next(socket, msg)) == 0 && zmq_msg_size(msg) < least) {
		while (zmq_msg_more(msg))
			if ((p.error = cluster_next(socket, msg)) != 0)
				return p;
		if (++p.skipped == most)
			return p;
	}
	if (p.error != 0)
		return p;
	p.data = zmq_msg_data(msg);
	p.size = zmq_msg_size(msg);
	p.more = zmq_msg_more(msg);
	if (keyed)
		p.user = zmq_msg_gets(msg, "User-Id");
	return p;
}

// cluster_origin is the descriptor of the connection that msg came on, or -1. It may belong to
// something else by now.
static int cluster_origin(zmq_msg_t *msg) { return zmq_msg_get(msg, ZMQ_SRCFD); }

// cluster_address is the address that msg came from, or NULL.
static const char *cluster_address(zmq_msg_t *msg) { return zmq_msg_gets(msg, "Peer-Address"); }

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
	data   []byte
	more   bool
	user   []byte // the property User-Id of its sender's connection; likewise
	passed int    // messages that were passed over before it
}

func newReceiver(s *zmq4.Socket, keyed bool) *receiver {
	return &receiver{socket: pointer(s), msg: C.cluster_msg_new(), keyed: keyed}
}

// pointer is ZeroMQ's own socket. The binding does not hand it out, and its ways to
// receive copy each part to memory of their own, with several calls of C.
func pointer(s *zmq4.Socket) unsafe.Pointer {
	return reflect.ValueOf(s).Elem().FieldByName("soc").UnsafePointer()
}

// next receives a part without waiting. The error is a zmq4.Errno. Before a message it passes
// over those whose first part is shorter than least, which costs a fraction of handing them on.
// Once it has passed over most it returns with nothing else, and origin tells of the latest.
func (r *receiver) next(least, most int) (part, error) {
	keyed := C.int(0)
	if r.keyed {
		keyed = 1
	}
	p := C.cluster_recv(r.socket, r.msg, keyed, C.size_t(least), C.int(most))
	if p.error != 0 {
		return part{passed: int(p.skipped)}, zmq4.Errno(syscall.Errno(p.error))
	}
	if int(p.skipped) == most {
		return part{passed: most}, nil
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
	return part{unsafe.Slice((*byte)(p.data), int(p.size)), p.more != 0, user, int(p.skipped)}, nil
}

// origin is the descriptor of the connection that the latest part came on, if it is known. It
// may belong to something else by now.
func (r *receiver) origin() (fd int, ok bool) {
	fd = int(C.cluster_origin(r.msg))
	return fd, fd >= 0
}

// address is where the latest part came from, as far as ZeroMQ knows: the host, without the port.
func (r *receiver) address() string {
	if a := C.cluster_address(r.msg); a != nil {
		return C.GoString(a)
	}
	return ""
}

// close comes before the socket's own.
func (r *receiver) close() {
	C.cluster_msg_free(r.msg)
	r.msg = nil
}
