package hashicorp

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A pipeline sends requests to append entries to one server without waiting for the reply to the one before. It
// implements raft.AppendPipeline.
//
// The goroutine that receives a reply also puts the request into Consumer: no other has to be woken in between. One is
// begun where Consumer is full, and by the timer, to look whether the first request waits for its reply in vain.
type pipeline struct {
	t    *Transport
	pid  int
	room chan struct{} // of inFlight: a token for each request under way
	done chan raft.AppendFuture

	// ctx ends when the pipeline or the transport closes; the cause is raft.ErrPipelineShutdown for the former.
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu     sync.Mutex  // guards what follows
	sent   []*future   // those under way, in order
	behind []*future   // those that are done, and for which done has had no room, in order
	timer  *time.Timer // calls look; it runs while armed is true
	armed  bool
}

// maxDone is how many requests that are done wait for who reads Consumer before the next are held up.
const maxDone = 128

// inFlight is how many requests to append entries may be under way to a server.
func (t *Transport) inFlight(pid int) int {
	switch {
	case t.cfg.MaxInFlight > 0:
		return t.cfg.MaxInFlight
	case t.distances.far(pid):
		return farInFlight
	}
	return 1
}

// AppendEntriesPipeline implements raft.Transport. Raft asks for a pipeline after each request without one that has succeeded: with
// raft.ErrPipelineReplicationNotSupported it sends the next without one too.
func (t *Transport) AppendEntriesPipeline(_ raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	pid, err := Pid(target)
	if err != nil {
		return nil, err
	}
	inFlight := t.inFlight(pid)
	if inFlight < 2 {
		return nil, raft.ErrPipelineReplicationNotSupported
	}
	if t.ctx.Err() != nil {
		return nil, raft.ErrTransportShutdown
	}
	p := &pipeline{
		t: t, pid: pid,
		room: make(chan struct{}, inFlight),
		done: make(chan raft.AppendFuture, maxDone),
	}
	p.ctx, p.cancel = context.WithCancelCause(t.ctx)
	p.timer = time.AfterFunc(time.Hour, func() { t.start(p.look) })
	p.timer.Stop()
	return p, nil
}

// AppendEntries implements raft.AppendPipeline. It waits while as many requests are under way as may be, and for room in
// the queue of the server.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	select {
	case <-p.ctx.Done(): // also if there is room
		return nil, context.Cause(p.ctx)
	default:
	}
	select {
	case p.room <- struct{}{}:
	case <-p.ctx.Done():
		return nil, context.Cause(p.ctx)
	}
	f := p.begin(args, resp)
	timeout := p.t.cfg.Timeout
	ctx, cancel := context.WithTimeoutCause(p.ctx, timeout, noReply{p.pid, appendEntries, timeout})
	defer cancel()
	if err := p.t.calls.send(ctx, f.call, args); err != nil {
		p.withdraw(f, err)
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f.sent = true
	p.settle()
	return f, nil
}

// begin notes a request that is going to be sent: the reply may come before that has returned.
func (p *pipeline) begin(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) *future {
	f := &future{pipeline: p, start: time.Now(), args: args, resp: resp, ended: make(chan struct{})}
	f.call = p.t.calls.begin(p.pid, appendEntries, f)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, f)
	if !p.armed {
		p.armed = true
		p.timer.Reset(min(p.t.calls.lives.every, p.t.cfg.Timeout))
	}
	return f
}

// withdraw takes a request back that was not sent.
func (p *pipeline) withdraw(f *future, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = slices.DeleteFunc(p.sent, func(other *future) bool { return other == f })
	f.end(nil, err)
	<-p.room
	p.settle()
}

// answered takes in the reply to a request.
func (p *pipeline) answered(f *future, r response) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.reply == nil { // or it is a second one
		f.reply = &r
		p.settle()
	}
}

// settle ends requests as long as the first has its reply. The caller holds mu.
func (p *pipeline) settle() {
	for len(p.sent) > 0 && p.sent[0].sent && p.sent[0].reply != nil {
		p.finish(nil)
	}
}

// finish ends the first request, with its reply or an error, and puts it into done. The caller holds mu.
func (p *pipeline) finish(err error) {
	f := p.sent[0]
	p.sent = slices.Delete(p.sent, 0, 1)
	f.end(f.reply, err)
	if len(p.behind) == 0 {
		select {
		case p.done <- f:
			<-p.room
			return
		default:
			p.t.start(p.bring)
		}
	}
	p.behind = append(p.behind, f)
}

// bring waits for room in done for what is behind, and until then leaves none for further requests.
func (p *pipeline) bring() {
	for {
		p.mu.Lock()
		f := p.behind[0]
		p.mu.Unlock()
		select {
		case p.done <- f:
			<-p.room
		case <-p.ctx.Done():
			return
		}
		p.mu.Lock()
		p.behind = slices.Delete(p.behind, 0, 1)
		left := len(p.behind)
		p.mu.Unlock()
		if left == 0 {
			return
		}
	}
}

// look ends requests whose reply is late, or will not come. While requests are under way it runs as often as lives says.
func (p *pipeline) look() {
	for {
		f := p.first()
		if f == nil {
			return
		}
		if again := p.judge(f, f.lost()); again > 0 {
			p.timer.Reset(again)
			return
		}
	}
}

// judge ends the first request if there is a reason, and it is still that. If it is to wait on, it returns for how long until the
// next look.
func (p *pipeline) judge(f *future, err error) (again time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.sent) == 0 || p.sent[0] != f:
		return 0
	case err == nil:
		return max(1, min(p.t.calls.lives.every, time.Until(f.start.Add(p.t.cfg.Timeout))))
	case !f.sent:
		return p.t.calls.lives.every // Who sends it has a deadline.
	}
	p.finish(err)
	p.settle()
	return 0
}

// first is the first request under way. If there is none, or the pipeline is closed, the timer is not armed any more.
func (p *pipeline) first() *future {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sent) == 0 || p.ctx.Err() != nil {
		p.armed = false
		return nil
	}
	return p.sent[0]
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.done }

// Close implements raft.AppendPipeline: requests under way fail with raft.ErrPipelineShutdown, though the server may have
// seen them.
func (p *pipeline) Close() error {
	p.cancel(raft.ErrPipelineShutdown)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer.Stop()
	return nil
}

// A future is a request that was sent. It implements raft.AppendFuture.
type future struct {
	pipeline *pipeline
	start    time.Time
	args     *raft.AppendEntriesRequest
	resp     *raft.AppendEntriesResponse
	call     *call

	// The pipeline's mu guards these.
	sent  bool      // it was sent as a whole
	reply *response // that has come

	once  sync.Once
	err   error // once ended is closed
	ended chan struct{}
}

// lost is why there will be no reply to a request that was sent; nil if it may come.
func (f *future) lost() error {
	t, waited := f.pipeline.t, time.Since(f.start)
	switch {
	case waited >= t.cfg.Timeout:
		return noReply{f.pipeline.pid, appendEntries, t.cfg.Timeout}
	case waited >= t.calls.lives.every:
		return t.calls.lives.ended(f.call)
	}
	return nil
}

// end makes a reply or an error the outcome, unless there is one.
func (f *future) end(r *response, err error) {
	f.once.Do(func() {
		f.pipeline.t.calls.end(f.call)
		if f.err = err; err == nil {
			f.err = r.into(f.resp)
		}
		close(f.ended)
	})
}

// Error implements raft.Future. It waits for the reply.
func (f *future) Error() error {
	select {
	case <-f.ended:
	case <-f.pipeline.ctx.Done():
		f.end(nil, context.Cause(f.pipeline.ctx))
		<-f.ended
	}
	return f.err
}

// Start implements raft.AppendFuture.
func (f *future) Start() time.Time { return f.start }

// Request implements raft.AppendFuture.
func (f *future) Request() *raft.AppendEntriesRequest { return f.args }

// Response implements raft.AppendFuture.
func (f *future) Response() *raft.AppendEntriesResponse { return f.resp }
