package cluster

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"sync"
)

// running are the nodes that New has made and that have not closed.
var running registry

// A registry has one node for each key, also while it is being made: to make one may
// take long (the file may be a pipe, and a name may have to be resolved), so that mu is
// never held meanwhile, and waits for nobody.
type registry struct {
	mu    sync.Mutex
	nodes map[int][]*registered // by pid; as many of each as there are files that have it
}

// A nodeKey says which node is meant. Two keys with different paths are of one node if both paths lead
// to the same place.
type nodeKey struct {
	pid  int
	path string // absolute
}

// registered is a node, or the attempt to make it.
type registered struct {
	path  string
	leads string // where path led, with all symbolic links followed, when that was last asked; guarded by the registry's mu

	made chan struct{} // closed when what follows is set
	node *Node
	err  error
}

// errMaking is the outcome of an attempt that panicked, or whose goroutine ended.
var errMaking = errors.New("cluster: starting the server was broken off")

// get returns the node of k, which make makes if there is none. The node is to call
// unlist when it has closed; one that is closing is waited for. Who comes while an
// attempt is under way waits for its end. If it fails, it may have begun before what was
// wrong was repaired, and so who has waited tries again, or waits for another who does;
// the error of an attempt that began later than the call is also its own.
func (r *registry) get(k nodeKey, make func(unlist func()) (*Node, error)) (*Node, error) {
	for waited := false; ; waited = true {
		e, mine := r.entry(k)
		if mine {
			r.fill(k, e, make)
			return e.node, e.err
		}
		<-e.made
		if e.err != nil {
			if waited {
				return nil, e.err
			}
			continue
		}
		select {
		case <-e.node.closing:
			<-e.node.done // by then it is not listed any more
		default:
			return e.node, nil
		}
	}
}

// entry returns the entry of k, and whether it is new and the caller is to fill it.
func (r *registry) entry(k nodeKey) (e *registered, mine bool) {
	if e := r.byPath(k); e != nil {
		return e, false
	}
	leads := follow(k.path)
	r.refresh(k.pid)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.nodes[k.pid] {
		if e.path == k.path || e.leads == leads {
			return e, false
		}
	}
	if r.nodes == nil {
		r.nodes = make(map[int][]*registered)
	}
	e = &registered{path: k.path, leads: leads, made: make(chan struct{}), err: errMaking}
	r.nodes[k.pid] = append(r.nodes[k.pid], e)
	return e, true
}

// byPath returns the entry with the very path of k, or nil.
func (r *registry) byPath(k nodeKey) *registered {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.nodes[k.pid], func(e *registered) bool { return e.path == k.path }); i >= 0 {
		return r.nodes[k.pid][i]
	}
	return nil
}

// refresh finds out where the paths of the entries with this pid lead now: symbolic links may have been turned
// elsewhere since.
func (r *registry) refresh(pid int) {
	r.mu.Lock()
	entries := slices.Clone(r.nodes[pid])
	r.mu.Unlock()
	for _, e := range entries {
		leads := follow(e.path)
		r.mu.Lock()
		e.leads = leads
		r.mu.Unlock()
	}
}

// follow returns where a path leads: itself, if there is nothing.
func follow(path string) string {
	if leads, err := filepath.EvalSymlinks(path); err == nil {
		return leads
	}
	return path
}

// fill sets what e is to have. An attempt that fails, in whatever way, is not listed any
// more when those who wait for it go on.
func (r *registry) fill(k nodeKey, e *registered, make func(unlist func()) (*Node, error)) {
	defer func() {
		if e.err != nil {
			r.forget(k, e)
		}
		close(e.made)
	}()
	e.node, e.err = make(func() { r.forget(k, e) })
}

func (r *registry) forget(k nodeKey, e *registered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := slices.DeleteFunc(r.nodes[k.pid], func(other *registered) bool { return other == e })
	if r.nodes[k.pid] = left; len(left) == 0 {
		delete(r.nodes, k.pid)
	}
}

// parsed are the files that New has read last.
var parsed parsedFiles

const (
	maxParsed      = 4       // files that are remembered
	maxParsedBytes = 1 << 20 // of each; larger ones are not
)

// parsedFiles remembers what some files say, so that a process that runs a thousand
// servers of one file does not parse it a thousand times. A file is known by its text,
// which is read each time: nothing else tells for certain that it has not changed.
type parsedFiles struct {
	mu    sync.Mutex
	files []*parsedFile // the one that was used last is the last
}

type parsedFile struct {
	path  string
	data  []byte
	parse func() (Config, error) // once, whoever calls first
}

// parse is parseConfig. The Config is shared, and so it is not to be changed.
func (p *parsedFiles) parse(path string, data []byte) (Config, error) {
	if len(data) > maxParsedBytes {
		return parseConfig(path, data)
	}
	return p.file(path, data).parse()
}

func (p *parsedFiles) file(path string, data []byte) *parsedFile {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := &parsedFile{path, data, sync.OnceValues(func() (Config, error) { return parseConfig(path, data) })}
	if i := slices.IndexFunc(p.files, func(f *parsedFile) bool { return f.path == path }); i >= 0 {
		if bytes.Equal(p.files[i].data, data) {
			f = p.files[i]
		}
		p.files = slices.Delete(p.files, i, i+1)
	} else if len(p.files) == maxParsed {
		p.files = slices.Delete(p.files, 0, 1)
	}
	p.files = append(p.files, f)
	return f
}
