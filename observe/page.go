package observe

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strconv"
	"time"
)

//go:embed assets
var files embed.FS

var pageTemplate = template.Must(template.ParseFS(files, "assets/page.html"))

// An asset is a file that the page asks for.
type asset struct {
	name, contentType string
	text              []byte
}

var assets = []asset{
	newAsset("style.css", "text/css; charset=utf-8"),
	newAsset("page.js", "text/javascript; charset=utf-8"),
	newAsset("icon.svg", "image/svg+xml"),
}

func newAsset(name, contentType string) asset {
	text, err := files.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // only if it is not embedded
	}
	return asset{name, contentType, text}
}

// ServeHTTP implements http.Handler.
func (a asset) ServeHTTP(w http.ResponseWriter, r *http.Request) { write(w, r, a.contentType, a.text) }

// page serves the page as it is now.
func (h *handler) page(w http.ResponseWriter, r *http.Request) {
	v, err := h.sampler.look(r.Context(), time.Time{})
	if err != nil {
		return // the client has gone
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, v); err != nil {
		panic(err) // only if page.html does not fit the view
	}
	write(w, r, "text/html; charset=utf-8", b.Bytes())
}

func write(w http.ResponseWriter, r *http.Request, contentType string, text []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(text) // only a client that has gone makes it fail
	}
}

// What the template asks of a view.

// Layout tells one page's structure from another's.
func (v *view) Layout() string { return v.layout }

// Newest is the number of the newest event.
func (v *view) Newest() uint64 {
	if len(v.Events) == 0 {
		return 0
	}
	return v.Events[0].seq
}

// Clock is the time of day of the view.
func (v *view) Clock() string { return v.At.UTC().Format("15:04:05") }

// Stamp is that time with its date, for machines.
func (v *view) Stamp() string { return v.At.UTC().Format(time.RFC3339) }
