package hashicorp

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A pipeline sends requests to append entries to one server without waiting for the reply to the one before. It
// implements raft.AppendPipeline.
type pipeline struct {
	t    *Transport
	pid  int
	room chan struct{} // of Config.MaxInFlight: a token for each request under way
	sent chan *future  // those under way, in order; never full
	done chan raft.AppendFuture

	// ctx ends when the pipeline or the transport closes; the cause is raft.ErrPipelineShutdown for the former.
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// maxDone is how many requests that are done wait for who reads Consumer before the next are held up.
const maxDone = 128

// AppendEntriesPipeline implements raft.Transport.
func (t *Transport) AppendEntriesPipeline(_ raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	if t.cfg.MaxInFlight < 2 {
		return nil, raft.ErrPipelineReplicationNotSupported
	}
	pid, err := Pid(target)
	if err != nil {
		return nil, err
	}
	p := &pipeline{
		t: t, pid: pid,
		room: make(chan struct{}, t.cfg.MaxInFlight),
		sent: make(chan *future, t.cfg.MaxInFlight),
		done: make(chan raft.AppendFuture, maxDone),
	}
	p.ctx, p.cancel = context.WithCancelCause(t.ctx)
	if !t.start(p.run) {
		p.cancel(nil)
		return nil, raft.ErrTransportShutdown
	}
	return p, nil
}

// AppendEntries implements raft.AppendPipeline. It waits while Config.MaxInFlight requests are under way, and for room in
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
	f := &future{pipeline: p, start: time.Now(), args: args, resp: resp, ended: make(chan struct{})}
	timeout := p.t.cfg.Timeout
	f.ctx, f.cancel = context.WithTimeoutCause(p.ctx, timeout, noReply{p.pid, appendEntries, timeout})
	f.call = p.t.calls.begin(p.pid, appendEntries)
	if err := p.t.calls.send(f.ctx, f.call, args); err != nil {
		f.end(err)
		<-p.room
		return nil, err
	}
	p.sent <- f
	return f, nil
}

// run waits for the replies, in the order of the requests.
func (p *pipeline) run() {
	for {
		var f *future
		select {
		case f = <-p.sent:
		case <-p.ctx.Done():
			return // Who asks what is still in sent learns of it from ctx.
		}
		reply, err := p.t.calls.wait(f.ctx, f.call)
		if err == nil {
			err = reply.into(f.resp)
		}
		f.end(err)
		<-p.room
		select {
		case p.done <- f:
		case <-p.ctx.Done():
			return
		}
	}
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.done }

// Close implements raft.AppendPipeline: requests under way fail with raft.ErrPipelineShutdown, though the server may have
// seen them.
func (p *pipeline) Close() error {
	p.cancel(raft.ErrPipelineShutdown)
	return nil
}

// A future is a request that was sent. It implements raft.AppendFuture.
type future struct {
	pipeline *pipeline
	start    time.Time
	args     *raft.AppendEntriesRequest
	resp     *raft.AppendEntriesResponse
	call     *call
	ctx      context.Context // ends with the pipeline's, or when the reply is late
	cancel   context.CancelFunc

	once  sync.Once
	err   error // once ended is closed
	ended chan struct{}
}

// end makes err the outcome, unless there is one.
func (f *future) end(err error) {
	f.once.Do(func() {
		f.cancel()
		f.pipeline.t.calls.end(f.call)
		f.err = err
		close(f.ended)
	})
}

// Error implements raft.Future. It waits for the reply.
func (f *future) Error() error {
	select {
	case <-f.ended:
	case <-f.pipeline.ctx.Done():
		f.end(context.Cause(f.pipeline.ctx))
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
