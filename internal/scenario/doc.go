// Package scenario holds the long tests of whole clusters: servers in processes of
// their own that are stopped and killed, connections that are broken and tampered
// with, floods and garbage on a port, peers in another language, idle servers, and
// rings of a thousand. They use what every program may use, and Stats.
package scenario
