package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/observe"
)

// reportMost bounds what is read of a server's report.
const reportMost = 64 << 20

// A watched server is what its page says about it, or why it says nothing. Its JSON form is that of top --once --json.
type watched struct {
	URL    string          `json:"url"`
	Error  string          `json:"error,omitempty"`
	Report *observe.Report `json:"report,omitempty"`
}

// pagesOf are the URLs of pages that arguments name: each is one, or a configuration whose entries have
// the field "http".
func pagesOf(args []string) (pages []string, err error) {
	for _, arg := range args {
		info, err := os.Stat(arg)
		if file := err == nil && info.Mode().IsRegular(); !file && looksLikePage(arg) {
			page, err := pageURL(arg)
			if err != nil {
				return nil, err
			}
			pages = append(pages, page)
			continue
		}
		cfg, err := cluster.LoadConfig(arg)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: want a configuration, or the URL of a server's page, such as http://127.0.0.1:9090", err)
		}
		if err != nil {
			return nil, err
		}
		found := len(pages)
		for _, p := range cfg.Peers {
			if page := observe.PageOf(p); page != "" {
				pages = append(pages, page)
			}
		}
		if len(pages) == found {
			return nil, fmt.Errorf(`%s: no entry says where the server's page is, as "http": "127.0.0.1:9090" would`, arg)
		}
	}
	for i, p := range pages {
		if slices.Contains(pages[:i], p) {
			return nil, usageError("%s stands there twice", p)
		}
	}
	return pages, nil
}

// looksLikePage reports whether an argument that is no file is meant as the URL of a page, which may be without its scheme. Otherwise
// it is a file that is not there, or no regular one.
func looksLikePage(arg string) bool {
	_, port, err := net.SplitHostPort(arg)
	return strings.Contains(arg, "://") || err == nil && port != ""
}

// pageURL is the URL of a page that is given without its scheme, perhaps.
func pageURL(text string) (string, error) {
	full := text
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" && !strings.Contains(text, "://") {
		return "", usageError("%q: want the URL of a server's page, such as http://127.0.0.1:9090, or a configuration", text)
	}
	return u.String(), nil
}

// watch asks all pages at once for their reports, in their order.
func watch(ctx context.Context, client *http.Client, pages []string) []watched {
	all := make([]watched, len(pages))
	var asked sync.WaitGroup
	for i, page := range pages {
		asked.Go(func() { // ctx and the client's timeout bound it.
			all[i] = watched{URL: page}
			r, err := reportAt(ctx, client, page)
			if err != nil {
				all[i].Error = err.Error()
				return
			}
			all[i].Report = r
		})
	}
	asked.Wait()
	return all
}

// reportAt asks one page.
func reportAt(ctx context.Context, client *http.Client, page string) (*observe.Report, error) {
	address, err := url.JoinPath(page, "stats")
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) && inner.Timeout() {
			return nil, fmt.Errorf("no answer within %v", client.Timeout)
		}
		return nil, errors.New(cause(err))
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusMisdirectedRequest:
		return nil, fmt.Errorf("it does not answer to the name %s: --http-host, where it runs, would list it", request.URL.Hostname())
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("what answers is no page of a server: HTTP status %d", answer.StatusCode)
	}
	var r observe.Report
	if err := json.NewDecoder(io.LimitReader(answer.Body, reportMost)).Decode(&r); err != nil || r.Time.IsZero() {
		return nil, errors.New("what answers is no page of a server, or that of a later version: /stats has another form")
	}
	return &r, nil
}
