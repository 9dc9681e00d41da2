//go:build !linux

package transporttest

func (kit) onLinux() []test { return nil }
