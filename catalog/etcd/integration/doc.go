// Package integration tests catalog/etcd with a real etcd, which runs in the process of the tests. It is a module
// of its own, so that who uses catalog/etcd does not get what etcd's server is made of.
package integration
