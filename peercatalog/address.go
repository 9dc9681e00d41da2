package peercatalog

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"unicode"
)

// maxIPCPath is what sockaddr_un holds on Linux, beside the final zero byte.
const maxIPCPath = 107

// purpose is what an address is for.
type purpose struct {
	wildcard bool // the host may stand for all interfaces
	want     string
}

var (
	forDialing = purpose{want: "host:port, for example 127.0.0.1:8081"}
	forBinding = purpose{wildcard: true, want: "host:port or *:port, for example *:8081"}
)

// endpoint brings an address into its normal form, or says what is wrong with
// it and what is wanted.
func endpoint(address string, p purpose) (string, error) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		scheme, rest = "tcp", address
	}
	if i := strings.IndexFunc(rest, unicode.IsControl); i >= 0 {
		return "", fmt.Errorf("a control character: want %s", p.want)
	}
	switch strings.ToLower(scheme) {
	case "tcp":
		return tcpEndpoint(rest, p)
	case "ipc":
		return ipcEndpoint(rest)
	case "mem":
		return memEndpoint(rest)
	}
	return "", fmt.Errorf("unknown scheme %.40q: want tcp, ipc or mem", scheme)
}

func tcpEndpoint(s string, p purpose) (string, error) {
	host, port, err := splitHostPort(s)
	if err == nil {
		host, err = normalHost(host, p)
	}
	if err == nil {
		port, err = normalPort(port)
	}
	if err != nil {
		return "", fmt.Errorf("%w: want %s", err, p.want)
	}
	return "tcp://" + net.JoinHostPort(host, port), nil
}

// splitHostPort is net.SplitHostPort with errors that say what to write.
func splitHostPort(s string) (host, port string, err error) {
	for _, c := range s {
		switch {
		case unicode.IsSpace(c):
			return "", "", errors.New("a space")
		case c == '@':
			return "", "", errors.New("user information (before the @) is not possible")
		case c == '/':
			return "", "", errors.New("a path (from the / on) is not possible")
		case c == '?':
			return "", "", errors.New("a query (from the ? on) is not possible")
		case c == '#':
			return "", "", errors.New("a fragment (from the # on) is not possible")
		}
	}
	if rest, ok := strings.CutPrefix(s, "["); ok {
		host, after, ok := strings.Cut(rest, "]")
		if !ok {
			return "", "", errors.New("no closing bracket")
		}
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() {
			return "", "", fmt.Errorf("%.60q is no IPv6 address, and only those go in brackets", host)
		}
		port, ok := strings.CutPrefix(after, ":")
		if after == "" || ok && port == "" {
			return "", "", errors.New("no port")
		}
		if !ok {
			return "", "", fmt.Errorf("%.20q after the closing bracket", after)
		}
		return host, port, nil
	}
	if strings.Count(s, ":") > 1 {
		before := s[:strings.LastIndexByte(s, ':')]
		if isIP(s) || isIP(before) {
			return "", "", errors.New("an IPv6 address goes in brackets, as in [::1]:8081")
		}
		return "", "", errors.New("more than one colon")
	}
	host, port, ok := strings.Cut(s, ":")
	if host == "" {
		return "", "", errors.New("no host")
	}
	if !ok || port == "" {
		return "", "", errors.New("no port")
	}
	return host, port, nil
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func normalHost(host string, p purpose) (string, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsUnspecified() && !p.wildcard {
			return "", fmt.Errorf(`%s is where to listen, not where to be reached; it goes in "bind"`, host)
		}
		return ip.String(), nil
	}
	if host == "*" {
		if !p.wildcard {
			return "", errors.New(`* is where to listen, not where to be reached; it goes in "bind"`)
		}
		return host, nil
	}
	if strings.Trim(host, "0123456789.") == "" {
		return "", fmt.Errorf("%.60q is no IPv4 address", host)
	}
	if len(host) > 253 {
		return "", fmt.Errorf("a host name of %d bytes, over 253", len(host))
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" {
			return "", errors.New("an empty part in the host name")
		}
		if len(label) > 63 {
			return "", fmt.Errorf("a part of %d bytes in the host name, over 63", len(label))
		}
	}
	for _, c := range host {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", c) {
			return "", fmt.Errorf("the character %q in the host name", c)
		}
	}
	if p.wildcard {
		return host, nil // it may be the name of an interface, where the case counts
	}
	return strings.ToLower(host), nil
}

func normalPort(port string) (string, error) {
	if strings.Trim(port, "0123456789") != "" {
		return "", fmt.Errorf("the port %.20q is not a number", port)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("the port %.20s is not from 1 to 65535", port)
	}
	return strconv.FormatUint(n, 10), nil
}

func ipcEndpoint(file string) (string, error) {
	const want = "want ipc://path, for example ipc:///run/app/0.sock"
	switch {
	case file == "":
		return "", errors.New("no path: " + want)
	case file == "*":
		return "", errors.New("a path that ZeroMQ makes up cannot be reached: " + want)
	case isDirectory(file):
		return "", errors.New("the path is that of a directory: " + want)
	case strings.TrimSpace(file) != file:
		return "", errors.New("a space at an end of the path: " + want)
	case len(file) > maxIPCPath:
		return "", fmt.Errorf("a path of %d bytes: want at most %d, for example in /run or /tmp", len(file), maxIPCPath)
	}
	// A name that begins with @ is no path (see abstract sockets in unix(7)),
	// and what .. means depends on symbolic links.
	if strings.HasPrefix(file, "@") || strings.Contains(file, "..") {
		return "ipc://" + file, nil
	}
	// Without its ./ the name of a file may mean something else.
	if clean := path.Clean(file); clean != "*" && clean[0] != '@' && strings.TrimSpace(clean) == clean {
		file = clean
	}
	return "ipc://" + file, nil
}

// isDirectory tells whether a path can only be that of a directory.
func isDirectory(file string) bool {
	base := path.Base(file)
	return strings.HasSuffix(file, "/") || base == "." || base == ".."
}

func memEndpoint(name string) (string, error) {
	if name == "" {
		return "", errors.New("no name: want mem://name")
	}
	if strings.ContainsFunc(name, unicode.IsSpace) {
		return "", errors.New("a space in the name: want mem://name")
	}
	return "mem://" + name, nil
}
