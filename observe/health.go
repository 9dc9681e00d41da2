package observe

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/abhishekg16/cluster"
)

func (h *handler) livez(w http.ResponseWriter, _ *http.Request) {
	if h.closed() {
		http.Error(w, "closed", http.StatusServiceUnavailable)
		return
	}
	plain(w, "ok\n")
}

func (h *handler) readyz(w http.ResponseWriter, _ *http.Request) {
	switch {
	case h.closed():
		http.Error(w, "closed", http.StatusServiceUnavailable)
	case !h.options.Quorum:
		plain(w, "ok\n")
	default:
		q := quorumOf(h.node)
		if !q.met() {
			http.Error(w, "no quorum: "+q.String(), http.StatusServiceUnavailable)
			return
		}
		plain(w, "ok: "+q.String()+"\n")
	}
}

func plain(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, text)
}

// A quorum is how many servers of a cluster one server finds up, itself among them, without observers.
type quorum struct{ up, all int }

func (q quorum) met() bool { return q.up > q.all/2 }

func (q quorum) String() string {
	return fmt.Sprintf("%d of %d servers are up, and %d are a majority", q.up, q.all, q.all/2+1)
}

func quorumOf(node *cluster.Node) (q quorum) {
	voters := node.Catalog().Participants()
	q.all = len(voters)
	if slices.Contains(voters, node.Pid()) {
		q.up++
	}
	for _, p := range node.Stats().Peers {
		if p.ID != node.Pid() && p.State == cluster.LinkUp && slices.Contains(voters, p.ID) {
			q.up++
		}
	}
	return q
}
