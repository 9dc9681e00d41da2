// Election chooses a leader among the servers of a cluster, and another when that one is gone. It is the leader
// election of Raft: sections 5.1 and 5.2 of "In Search of an Understandable Consensus Algorithm" by Diego Ongaro and
// John Ousterhout (https://raft.github.io/raft.pdf), with the pre-vote of section 9.6 of Ongaro's dissertation,
// "Consensus: Bridging Theory and Practice". Run one for each server of Config.json, each in a terminal of its own, and
// end and restart them as you like:
//
//	go run ./examples/election -id 0
//
// election.go is the protocol, prevote.go how a server finds out whether it should be a candidate, links.go what it
// makes of links that are down, storage.go what it remembers when it is restarted, and main.go what the terminal shows.
// The tests run it on a network that partitions, loses, delays and crashes. Whoever wants to go on to a replicated log
// should begin with them.
//
// What else Raft has is left out: the log, its replication, and with it the rule that only a server whose log is up to
// date gets a vote (sections 5.3 and 5.4); changes of membership (section 6), so that all servers must have the same
// list of servers for as long as they run; snapshots (section 7); requests of clients, and the lease or the round of
// heartbeats by which a leader makes sure that it still leads before it answers one (section 8): for a moment after
// another was elected, the leader of an earlier term may still say that it leads; and the transfer of leadership
// (section 3.10 of the dissertation).
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/abhishekg16/cluster"
)

const (
	// heartbeat is how often a leader tells that it is there, and a candidate asks again who has not answered.
	heartbeat = 250 * time.Millisecond
	// An election timeout is drawn anew each time, so that few servers become candidates at once and split the vote
	// (section 5.2). The least is several heartbeats, because a few may be lost; and much more than the 250 ms that a
	// broken connection takes to come back, or its servers would elect another leader each time.
	leastTimeout = 1 * time.Second
	mostTimeout  = 2 * time.Second
)

// The messages, as figure 2 has them but for the fields about the log. The paper's candidateId and leaderId are not
// needed either: an envelope says whom it is from.
type (
	RequestVote      struct{ Term int }
	RequestVoteReply struct {
		Term        int
		VoteGranted bool
	}
	AppendEntries      struct{ Term int } // has no entries, and so is a heartbeat
	AppendEntriesReply struct {
		Term    int
		Success bool
	}
)

func init() {
	cluster.Register("election.RequestVote", RequestVote{})
	cluster.Register("election.RequestVoteReply", RequestVoteReply{})
	cluster.Register("election.AppendEntries", AppendEntries{})
	cluster.Register("election.AppendEntriesReply", AppendEntriesReply{})
}

// A Role is what a server is at the moment (figure 4).
type Role int

const (
	Follower     Role = iota
	PreCandidate      // asks whether it would be elected: see prevote.go
	Candidate
	Leader
)

// Nobody stands where the id of a server might.
const Nobody = -1

// A Status is what a server knows of the election.
type Status struct {
	Term   int
	Role   Role
	Leader int // of the term, or Nobody if it is not known
}

func (s Status) String() string {
	switch {
	case s.Leader != Nobody:
		return fmt.Sprintf("term %d: server %d leads", s.Term, s.Leader)
	case s.Role == PreCandidate:
		return fmt.Sprintf("term %d: no leader is heard, and this server asks the others", s.Term)
	case s.Role == Candidate:
		return fmt.Sprintf("term %d: this server is a candidate", s.Term)
	}
	return fmt.Sprintf("term %d: no leader yet", s.Term)
}

// An Election is one server's part in the protocol. All its state belongs to the goroutine that calls Run.
type Election struct {
	server   cluster.Server
	storage  Storage
	random   *rand.Rand
	notify   func(Status)
	peers    []int // those with a vote, beside this server: observers have none
	majority int

	ballot Ballot       // as in storage
	status Status       // its Term is that of ballot
	votes  map[int]bool // of whom this server, a candidate or pre-candidate, has the vote
	heard  time.Time    // when the leader of the term last was; zero: not in this term
	// timeout rings when this server should ask whether it may be a candidate; beat when a leader or somebody who asks
	// for votes has to repeat itself. One that does not apply to the role is stopped.
	timeout, beat *time.Timer
}

// NewElection prepares the part of a server, which starts as a follower (section 5.2) in the term that it remembers.
// notify is called with each change of Status, by the goroutine of Run, which waits for it. The servers of the cluster
// must stay the same, since a majority is one of all of them.
func NewElection(server cluster.Server, storage Storage, random *rand.Rand, notify func(Status)) (*Election, error) {
	ballot, err := storage.Load()
	if err != nil {
		return nil, err
	}
	peers := server.Peers()
	return &Election{
		server: server, storage: storage, random: random, notify: notify,
		peers:    peers,
		majority: (len(peers)+1)/2 + 1,
		ballot:   ballot,
		status:   Status{ballot.Term, Follower, Nobody},
	}, nil
}

// Run takes part until ctx ends or the server closes. It returns an error if what must be remembered cannot be stored:
// a server that forgets its vote may vote again, and a term have two leaders.
func (e *Election) Run(ctx context.Context) error {
	e.timeout, e.beat = time.NewTimer(e.patience()), time.NewTimer(heartbeat)
	e.beat.Stop()
	defer e.timeout.Stop()
	defer e.beat.Stop()
	downs, end := e.watch(ctx)
	defer end()
	for {
		var err error
		select {
		case env, open := <-e.server.Inbox():
			if !open {
				return nil
			}
			err = e.receive(env)
		case <-e.timeout.C:
			err = e.canvass()
		case <-e.beat.C:
			e.repeat()
		case peer := <-downs:
			e.down(peer)
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (e *Election) patience() time.Duration {
	return leastTimeout + time.Duration(e.random.Int64N(int64(mostTimeout-leastTimeout)))
}

// campaign begins an election: a new term, a vote for oneself, and requests to all others (section 5.2).
func (e *Election) campaign() error {
	if err := e.remember(Ballot{e.ballot.Term + 1, e.server.Pid()}); err != nil {
		return err
	}
	e.votes = map[int]bool{e.server.Pid(): true}
	e.become(Candidate, Nobody)
	e.timeout.Reset(e.patience()) // If the vote is split until then, the others are asked again.
	e.count()
	e.repeat()
	return nil
}

// count makes a candidate the leader once it has the votes of a majority. As each server has one vote in a term, there
// cannot be two (section 5.2, Election Safety).
func (e *Election) count() {
	if len(e.votes) < e.majority {
		return
	}
	e.timeout.Stop()
	e.become(Leader, e.server.Pid())
}

// repeat sends to all what a leader, a candidate or a pre-candidate has to say as long as it is one. Who has voted
// already votes the same way again, so that messages may be lost in either direction (section 5.1: servers retry).
func (e *Election) repeat() {
	switch e.status.Role {
	case Leader:
		if e.cutOff() {
			e.stepDown()
			return
		}
		e.send(cluster.BROADCAST, AppendEntries{e.ballot.Term})
	case Candidate:
		e.send(cluster.BROADCAST, RequestVote{e.ballot.Term})
	case PreCandidate:
		e.send(cluster.BROADCAST, RequestPreVote{e.ballot.Term + 1})
	}
	e.beat.Reset(heartbeat)
}

// receive does what a message asks for.
func (e *Election) receive(env *cluster.Envelope) error {
	if !slices.Contains(e.peers, env.Pid) {
		return nil // of an observer
	}
	switch msg := env.Msg.(type) {
	case RequestPreVote:
		e.requestPreVote(env.Pid, msg)
	case RequestPreVoteReply:
		return e.requestPreVoteReply(env.Pid, msg)
	case RequestVote:
		return e.requestVote(env.Pid, msg)
	case RequestVoteReply:
		return e.requestVoteReply(env.Pid, msg)
	case AppendEntries:
		return e.appendEntries(env.Pid, msg)
	case AppendEntriesReply:
		return e.observe(msg.Term)
	}
	return nil // of another program that uses the same cluster
}

// requestVote gives this server's vote to the first that asks for it in a term.
func (e *Election) requestVote(candidate int, msg RequestVote) error {
	if err := e.observe(msg.Term); err != nil {
		return err
	}
	granted := e.mayVote(candidate, msg.Term)
	if granted {
		// It is stored before it is sent, so that it still counts after a crash.
		if err := e.remember(Ballot{e.ballot.Term, candidate}); err != nil {
			return err
		}
		e.timeout.Reset(e.patience())
	}
	e.send(candidate, RequestVoteReply{e.ballot.Term, granted})
	return nil
}

// mayVote reports whether this server's vote in a term can go to a candidate.
func (e *Election) mayVote(candidate, term int) bool {
	if term == e.ballot.Term {
		return e.ballot.VotedFor == Nobody || e.ballot.VotedFor == candidate
	}
	return term > e.ballot.Term
}

func (e *Election) requestVoteReply(voter int, msg RequestVoteReply) error {
	if err := e.observe(msg.Term); err != nil {
		return err
	}
	// A vote of an earlier election may come late, and does not count in this one.
	if msg.VoteGranted && msg.Term == e.ballot.Term && e.status.Role == Candidate {
		e.votes[voter] = true
		if e.count(); e.status.Role == Leader {
			e.repeat()
		}
	}
	return nil
}

// appendEntries follows the leader of the term. Candidates do so too: another has won (section 5.2). A leader of an
// earlier term is refused, and learns from the reply that its time is over.
func (e *Election) appendEntries(leader int, msg AppendEntries) error {
	if err := e.observe(msg.Term); err != nil {
		return err
	}
	success := msg.Term == e.ballot.Term
	if success {
		e.beat.Stop()
		e.timeout.Reset(e.patience())
		e.heard = time.Now()
		e.become(Follower, leader)
	}
	e.send(leader, AppendEntriesReply{e.ballot.Term, success})
	return nil
}

// observe compares the term that a message is from: each server that learns of a later one takes it over, and is a
// follower in it, whatever it was before (section 5.1).
func (e *Election) observe(term int) error {
	if term <= e.ballot.Term {
		return nil
	}
	if err := e.remember(Ballot{term, Nobody}); err != nil {
		return err
	}
	if e.status.Role == Leader {
		e.timeout.Reset(e.patience())
	}
	e.beat.Stop()
	e.become(Follower, Nobody)
	return nil
}

// remember keeps the term and the vote where they survive a crash (figure 2: "updated on stable storage before
// responding to RPCs").
func (e *Election) remember(b Ballot) error {
	if b == e.ballot {
		return nil
	}
	if err := e.storage.Save(b); err != nil {
		return err
	}
	if b.Term != e.ballot.Term {
		e.heard = time.Time{}
	}
	e.ballot = b
	return nil
}

func (e *Election) become(r Role, leader int) {
	s := Status{e.ballot.Term, r, leader}
	if s == e.status {
		return
	}
	e.status = s
	e.notify(s)
}

// send never waits. The goroutine that sends here is the one that reads Inbox, and Outbox is full when a peer takes
// nothing, or when the server has closed and nobody reads it any more: two servers that both waited for room would not
// read, and so wait for each other. What finds no room is dropped instead. That is no worse than what a network does,
// and for the same reason does no harm: all that matters is sent again with the next heartbeat.
func (e *Election) send(to int, msg any) {
	select {
	case e.server.Outbox() <- &cluster.Envelope{Pid: to, Msg: msg}:
	default:
	}
}
