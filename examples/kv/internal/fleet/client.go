package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"
)

// attemptTimeout is how long a client waits for one server's answer before it asks another.
const attemptTimeout = time.Second

var (
	// ErrNotDone says that a request has had no effect, and will have none.
	ErrNotDone = errors.New("not done")
	// ErrUnknown says that a request may have had its effect, or may have it later.
	ErrUnknown = errors.New("unknown whether it was done")
)

// A Request is what a client wants of the store.
type Request struct {
	Method, Path string
	Body         []byte

	// Name is what the servers know the request by, so that it can be sent again whatever has become of it. A write
	// without it is not sent again once a server may have begun it.
	Name string
}

// An Answer is that of the server that leads.
type Answer struct {
	Status int
	Body   []byte
}

// shared has the connections of all clients.
var shared = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 100},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// A Client sends requests to whichever server leads. Requests may not be sent concurrently.
type Client struct {
	servers func() []string // where they answer
	at      string          // who has answered last
}

// NewClient is a client of the servers whose addresses the function returns.
func NewClient(servers func() []string) *Client { return &Client{servers: servers} }

// Do sends a request to the leader, and waits for one as long as ctx lasts. The error is ErrNotDone or ErrUnknown.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	begun := false // whether a server may have carried it out, or may do so later
	for {
		if c.at == "" {
			all := c.servers()
			c.at = all[rand.IntN(len(all))]
		}
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		answer, err := send(attempt, c.at, r)
		cancel()
		var there elsewhere
		switch {
		case err == nil:
			return answer, nil
		case errors.As(err, &there):
			c.at = string(there)
		case errors.Is(err, ErrUnknown):
			if begun = r.Method != http.MethodGet; begun && r.Name == "" {
				return Answer{}, err
			}
			c.at = ""
		default:
			c.at = ""
		}
		select {
		case <-time.After(10 * time.Millisecond):
			continue
		case <-ctx.Done():
		}
		if begun {
			return Answer{}, fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		return Answer{}, fmt.Errorf("%w: %w", ErrNotDone, err)
	}
}

// Get asks one server for a key, whether it leads or not, and takes what it says. An error says that it does not know.
func Get(ctx context.Context, address, path string) (Answer, error) {
	return send(ctx, address, Request{Method: http.MethodGet, Path: path})
}

// Status asks a server for what it knows of itself.
func Status(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout/4)
	defer cancel()
	a, err := Get(ctx, address, "/status")
	if err == nil && a.Status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", a.Status, a.Body)
	}
	return a.Body, err
}

// elsewhere is an error that says who leads.
type elsewhere string

func (e elsewhere) Error() string { return string(e) + " leads" }

// send asks one server. The error is elsewhere, ErrNotDone or ErrUnknown.
func send(ctx context.Context, address string, r Request) (Answer, error) {
	q, err := http.NewRequestWithContext(ctx, r.Method, "http://"+address+r.Path, bytes.NewReader(r.Body))
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrNotDone, err)
	}
	if r.Name != "" {
		q.Header.Set("Idempotency-Key", r.Name)
	}
	p, err := shared.Do(q)
	// A request with this header net/http sends again by itself when a connection has ended that was used before: then
	// it may have been sent, though the last that was tried is to connect.
	if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" && r.Name == "" {
		return Answer{}, fmt.Errorf("%w: %w", ErrNotDone, err)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	defer p.Body.Close()
	body, err := io.ReadAll(p.Body)
	switch {
	case err != nil:
		return Answer{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	case p.StatusCode == http.StatusTemporaryRedirect:
		to, err := url.Parse(p.Header.Get("Location"))
		if err != nil {
			return Answer{}, fmt.Errorf("%w: %w", ErrNotDone, err)
		}
		return Answer{}, elsewhere(to.Host)
	case p.StatusCode == http.StatusServiceUnavailable:
		return Answer{}, fmt.Errorf("%w: %s", ErrNotDone, body)
	case p.StatusCode >= 500:
		return Answer{}, fmt.Errorf("%w: %s", ErrUnknown, body)
	}
	return Answer{p.StatusCode, body}, nil
}
