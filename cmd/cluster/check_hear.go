package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/abhishekg16/cluster"
)

// hearTime is what a server has at least to answer another that takes the place of -id: both connect first.
const hearTime = 2 * time.Second

// checkHearing finds servers of this configuration that run and do not answer what the server -id sends: they are of another cluster, do not list
// it, or cannot reach it. It takes that server's place for this, as ping does, and leaves it out where that runs, or its key is not here.
func (r *report) checkHearing(ctx context.Context, wait time.Duration) {
	cfg, err := cluster.LoadConfig(r.File)
	if r.id == noID || err != nil || !slices.ContainsFunc(cfg.Peers, hasID(r.id)) || reachable(cfg, r.File, r.id) != nil {
		return
	}
	cfg.KeyFile = r.keyFile
	var targets []peer
	var reports []*serverReport
	for _, s := range r.Servers {
		switch {
		case s.running && s.ID == r.id:
			return // it may run elsewhere, so that its port is free here
		case s.running:
			targets, reports = append(targets, s.peer), append(reports, s)
		}
	}
	if len(targets) == 0 {
		return
	}
	p, err := newPinger(cfg, r.File, r.id, targets)
	if err != nil {
		if !errors.Is(err, syscall.EADDRINUSE) { // then it runs, and what it hears is on its page
			r.note("address", nil, "whether the others answer server %d is not known: %v", r.id, err)
		}
		return
	}
	defer p.close()
	errs := make([]error, len(targets))
	var all sync.WaitGroup
	for i, t := range p.targets {
		all.Go(func() { _, errs[i] = t.ask(ctx, max(wait, hearTime)) }) // ctx and the time bound it.
	}
	all.Wait()
	for i, err := range errs {
		if err != nil && ctx.Err() == nil {
			r.fault("address", reports[i], "it runs, and does not answer server %d: %v", r.id, err)
		}
	}
}
