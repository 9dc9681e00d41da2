//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"
)

// hostFiles is where ip looks for files, such as hosts, that stand in for those of /etc in
// a namespace.
const hostFiles = "/etc/netns"

// ofDriver is the name that newNamespace gives, with the driver's process id in it.
var ofDriver = regexp.MustCompile(`^faults-(\d+)-`)

// sweep removes what drivers have left behind that could not end by themselves, such as one
// that was killed: their namespaces, and the files for these. It returns what it removed.
//
// What belongs to a process that lives is left alone, though its id may be another's by
// now: a namespace too many harms nobody.
func sweep() (removed []string, err error) {
	var errs []error
	for _, dir := range []string{namespaces, hostFiles} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			m := ofDriver.FindStringSubmatch(e.Name())
			if m == nil {
				continue
			}
			driver, err := strconv.Atoi(m[1])
			if err != nil || unix.Kill(driver, 0) != unix.ESRCH {
				continue
			}
			path := filepath.Join(dir, e.Name())
			if dir == namespaces {
				err = runCommand("ip", "netns", "delete", e.Name())
			} else {
				err = os.RemoveAll(path)
			}
			if _, left := os.Lstat(path); errors.Is(left, fs.ErrNotExist) {
				err = nil // also if another driver was faster
				removed = append(removed, path)
			}
			errs = append(errs, err)
		}
	}
	os.Remove(hostFiles) // if it is empty
	if err := errors.Join(errs...); err != nil {
		return removed, fmt.Errorf("removing what earlier drivers have left: %w", err)
	}
	return removed, nil
}
