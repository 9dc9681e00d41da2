//go:build cgo && !nozmq

package zmq

/*
#include <errno.h>
#include <string.h>
#include <zmq.h>

// cluster_room makes ZeroMQ look at its mailbox. It returns an errno: 0 if there is room for a message, EAGAIN if there is none now.
static int cluster_room(void *socket) {
	int events;
	size_t size = sizeof events;
	while (zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) < 0)
		if (zmq_errno() != EINTR)
			return zmq_errno();
	return events & ZMQ_POLLOUT ? 0 : EAGAIN;
}

// cluster_send sends head and tail in a row as one message, without waiting. It
// returns an errno: 0 if the message was sent, EAGAIN if there is no room now.
//
// zmq_msg_send looks at its mailbox only once in a while, every three million ticks of the processor's clock, which is about a
// millisecond. To have it look before each message would take two system calls each. What goes meanwhile to a connection that has ended is lost
// like what was on its way there. Where there is no room, it is looked whether there is by now.
static int cluster_send(void *socket, void *head, size_t head_size, void *tail, size_t tail_size) {
	zmq_msg_t msg;
	if (zmq_msg_init_size(&msg, head_size + tail_size) < 0)
		return zmq_errno();
	char *data = zmq_msg_data(&msg);
	if (head_size > 0)
		memcpy(data, head, head_size);
	if (tail_size > 0)
		memcpy(data + head_size, tail, tail_size);
	int looked = 0;
	while (zmq_msg_send(&msg, socket, ZMQ_DONTWAIT) < 0) {
		int error = zmq_errno();
		if (error == EINTR)
			continue;
		if (error == EAGAIN && !looked) {
			looked = 1;
			if ((error = cluster_room(socket)) == 0)
				continue;
		}
		zmq_msg_close(&msg);
		return error;
	}
	return 0;
}

#cgo noescape cluster_send
#cgo nocallback cluster_send
*/
import "C"

import (
	"syscall"
	"unsafe"

	zmq4 "github.com/pebbe/zmq4"
)

// transmit hands a message over to ZeroMQ, which copies it. It does not wait: the error
// may be one of those that again knows.
func transmit(socket unsafe.Pointer, head, tail []byte) error {
	if len(head) == 0 {
		head, tail = tail, nil
	}
	var rc C.int
	// Written like this, &s[0] lets cgo's checks look at no more than the slice.
	if len(head) == 0 {
		rc = C.cluster_send(socket, nil, 0, nil, 0)
	} else if len(tail) == 0 {
		rc = C.cluster_send(socket, unsafe.Pointer(&head[0]), C.size_t(len(head)), nil, 0)
	} else {
		rc = C.cluster_send(socket, unsafe.Pointer(&head[0]), C.size_t(len(head)), unsafe.Pointer(&tail[0]), C.size_t(len(tail)))
	}
	if rc != 0 {
		return zmq4.Errno(syscall.Errno(rc))
	}
	return nil
}
