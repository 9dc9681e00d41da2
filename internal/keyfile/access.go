//go:build unix

package keyfile

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
)

// checkAccess returns an error if others than this process may use the key in a file, or
// may put another there.
func checkAccess(file string, info fs.FileInfo) error {
	groups, _ := os.Getgroups() // without them, fewer files are accepted
	a := access{user: os.Geteuid(), groups: append(groups, os.Getegid()), mode: info.Mode().Perm()}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if ok {
		a.owner, a.group = int(stat.Uid), int(stat.Gid)
	}
	if a.mode&0o077 == 0 || ok && a.permits() {
		return nil
	}
	return fmt.Errorf("%s: its permissions are %#o, so that others can use the key: %s", file, a.mode, a.advice(file))
}

// access is what decides who may use a file.
type access struct {
	user         int   // whose process this is
	groups       []int // of the process
	owner, group int   // of the file
	mode         fs.FileMode
}

// permits reports whether a file is one that was mounted for this process, as Kubernetes
// mounts a Secret for a pod with an fsGroup: a group of the process may read it and do
// nothing else, others may do nothing, and the process cannot write it; if it could, it
// could as well take that permission away. The owner is root or the process's user, for
// whoever owns a file can put another key there.
func (a access) permits() bool {
	unwritable := a.owner == 0 && a.user != 0 || a.owner == a.user && a.mode&0o200 == 0
	return unwritable && a.mode&0o077 == 0o040 && slices.Contains(a.groups, a.group)
}

// advice says what to do with a file that others can use.
func (a access) advice(file string) string {
	slices.Sort(a.groups)
	groups := strings.Trim(fmt.Sprint(slices.Compact(a.groups)), "[]")
	switch {
	case a.owner == a.user || a.user == 0:
		return fmt.Sprintf("run chmod 600 %s; a file that is mounted needs mode 0400, or 0440 and a group of this process (%s)", file, groups)
	case a.owner == 0:
		return fmt.Sprintf("it is root's, so give it mode 0440 and a group of this process (%s), or make user %d its owner and run chmod 600 %s", groups, a.user, file)
	}
	return fmt.Sprintf("it is user %d's, so make user %d, whose process this is, its owner, and run chmod 600 %s", a.owner, a.user, file)
}
