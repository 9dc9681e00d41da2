package observe

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// policy is the content security policy of all answers: the page has its own style sheet, script
// and icon, asks its own server, and is framed by nobody.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// answerTime bounds how long a client may take for an answer, other than the stream of a page.
const answerTime = 30 * time.Second

// guard answers only what may be asked, before next is: see the package comment.
func guard(hosts hosts, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		switch {
		case !hosts.allow(r.Host):
			http.Error(w, "This is not served under the name that was asked for. "+
				"Ask by an address of loopback, or list the name in Options.Hosts (cluster run: --http-host).", http.StatusMisdirectedRequest)
			return
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			header.Set("Allow", "GET, HEAD")
			http.Error(w, "Want GET or HEAD.", http.StatusMethodNotAllowed)
			return
		case foreign(r):
			http.Error(w, "This is not for the pages of others.", http.StatusForbidden)
			return
		}
		// A server without this deadline has none, and one of its own may have an earlier one: neither is a fault.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
		next.ServeHTTP(w, r)
	})
}

// foreign reports whether a page of another origin makes the browser ask. It could not read the answer,
// but keep the places of viewers taken. A link that somebody follows is none.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	return r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

// hosts are the names that requests may ask for, beside those of loopback, in lower case.
type hosts map[string]bool

func newHosts(names []string) hosts {
	h := make(hosts)
	for _, n := range names {
		if host, port, err := net.SplitHostPort(n); err == nil {
			h[net.JoinHostPort(normalHost(host), port)] = true
		} else {
			h[normalHost(n)] = true
		}
	}
	return h
}

// allow reports whether a request may have this Host.
func (h hosts) allow(asked string) bool {
	host, port, err := net.SplitHostPort(asked)
	if err != nil {
		host, port = asked, ""
	}
	host = normalHost(host)
	if host == "localhost" || h[host] || port != "" && h[net.JoinHostPort(host, port)] {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// normalHost is a host without brackets and the last dot, in lower case.
func normalHost(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	return host
}
