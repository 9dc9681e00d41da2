// Package deploy has no code. Its directory has what runs servers in containers, on Kubernetes and under systemd, and
// what watches them; docs/deploy.md explains it. The tests hold these files to what the tools that read them want.
package deploy
