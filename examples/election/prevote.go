package main

import (
	"time"

	"github.com/abhishekg16/cluster"
)

// A server that hears no leader asks the others, before it begins an election, whether they would vote for it: the
// pre-vote of section 9.6 of the dissertation. They would not as long as they hear a leader. Without this, a server that
// is cut off raises its term with each election timeout, and the servers that have a leader must take that term over
// when they hear of it, and elect again, although nothing was wrong with their leader; and one that can send and not
// receive (its own address is wrong in the files of the others, for example) makes them do so for as long as it runs.
//
// Neither question nor answer changes a term or a vote, and nothing is stored for them.
type (
	RequestPreVote      struct{ Term int } // the term that the server would be a candidate in
	RequestPreVoteReply struct {
		Term        int // that of the request if the vote would be granted, or else the voter's own
		VoteGranted bool
	}
)

func init() {
	cluster.Register("election.RequestPreVote", RequestPreVote{})
	cluster.Register("election.RequestPreVoteReply", RequestPreVoteReply{})
}

// canvass asks all others whether they would vote for this server in the next term.
func (e *Election) canvass() error {
	e.votes = map[int]bool{e.server.Pid(): true}
	e.become(PreCandidate, Nobody)
	e.timeout.Reset(e.patience())
	if len(e.votes) >= e.majority {
		return e.campaign() // It is alone in the cluster.
	}
	e.repeat()
	return nil
}

// requestPreVote answers whether this server would vote for a candidate. A leader may come to be heard a little later
// by one server than by another, and so is waited for until the least election timeout has passed: the question is
// repeated.
func (e *Election) requestPreVote(candidate int, msg RequestPreVote) {
	hears := e.status.Role == Leader || !e.heard.IsZero() && time.Since(e.heard) < leastTimeout
	if !hears && e.mayVote(candidate, msg.Term) {
		e.send(candidate, RequestPreVoteReply{msg.Term, true})
	} else {
		e.send(candidate, RequestPreVoteReply{e.ballot.Term, false})
	}
}

// requestPreVoteReply makes this server a candidate once a majority would vote for it. From one who would not it may
// learn of a later term, in which it is a follower then, and asks for the next one.
func (e *Election) requestPreVoteReply(voter int, msg RequestPreVoteReply) error {
	if !msg.VoteGranted {
		return e.observe(msg.Term)
	}
	// An answer to an earlier question may come late.
	if e.status.Role != PreCandidate || msg.Term != e.ballot.Term+1 {
		return nil
	}
	e.votes[voter] = true
	if len(e.votes) < e.majority {
		return nil
	}
	return e.campaign()
}
