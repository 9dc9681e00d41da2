package bind

import (
	"errors"
	"fmt"
	"syscall"
)

// isElsewhere reports whether an address cannot be listened on because this machine does not
// have it, or not its kind.
func isElsewhere(err error) bool {
	return errors.Is(err, addrNotAvailable) || errors.Is(err, familyNotSupported) || errors.Is(err, syscall.ENODEV)
}

// Explain adds the way out to an error of the system's that tells why nobody can listen. The
// result is also syscall.EADDRINUSE, or syscall.EADDRNOTAVAIL, where the system has another number.
func Explain(err error) error {
	switch {
	case errors.Is(err, addrInUse):
		return fmt.Errorf("%w: another program, or another node of this one, listens there", standard(err, syscall.EADDRINUSE))
	case errors.Is(err, addrNotAvailable), errors.Is(err, syscall.ENODEV):
		return fmt.Errorf(`%w: it is no address of this machine; if the peers reach it through another one, say in "bind" where to listen`, standard(err, syscall.EADDRNOTAVAIL))
	}
	return err
}

// standard is err, and is number, too.
func standard(err error, number syscall.Errno) error {
	if errors.Is(err, number) || errors.Is(err, syscall.ENODEV) {
		return err
	}
	return fmt.Errorf("%w: %w", err, number)
}
