package main

import (
	"testing"

	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestMain(m *testing.M) { testcluster.CounterMain(m, main) }

func TestServersCountTogether(t *testing.T) { testcluster.CounterCountsTogether(t) }

func TestTheDocumentShowsThisProgram(t *testing.T) { testcluster.CounterIsShown(t) }
