// Package transporttest tests what every network promises that carries frames over tcp and ipc,
// and speaks ZMTP to whoever else connects.
package transporttest

import (
	"slices"
	"testing"

	"github.com/abhishekg16/cluster/internal/transport"
)

type test struct {
	name string
	run  func(*testing.T)
}

// A kit tests a network.
type kit struct{ network transport.Network }

// Run runs all tests.
func Run(t *testing.T, n transport.Network) {
	k := kit{n}
	for _, c := range slices.Concat([]test{
		{"FramesPassWholeAndInOrder", k.TestFramesPassWholeAndInOrder},
		{"NotWritableWhileThereIsNoPeer", k.TestNotWritableWhileThereIsNoPeer},
		{"InterruptEndsOneWait", k.TestInterruptEndsOneWait},
		{"WhatNoSenderMakesIsRefused", k.TestWhatNoSenderMakesIsRefused},
		{"AFrameThatIsTooLargeEndsItsConnectionAlone", k.TestAFrameThatIsTooLargeEndsItsConnectionAlone},
		{"IPv6", k.TestIPv6},
		{"ThePortIsFreeAfterClose", k.TestThePortIsFreeAfterClose},
		{"APortThatIsTakenIsAnError", k.TestAPortThatIsTakenIsAnError},
		{"AHostNameIsListenedOn", k.TestAHostNameIsListenedOn},
		{"AnInterfaceIsListenedOnByItsName", k.TestAnInterfaceIsListenedOnByItsName},
		{"TheWildcardIsAllAddressesOfBothFamilies", k.TestTheWildcardIsAllAddressesOfBothFamilies},
		{"ThatAnAddressIsInUseIsToldRatherThanEvaded", k.TestThatAnAddressIsInUseIsToldRatherThanEvaded},
		{"ANameThatDoesNotResolveIsAnErrorThatNamesIt", k.TestANameThatDoesNotResolveIsAnErrorThatNamesIt},
		{"FailedHandshakesAreCountedWithTheirCause", k.TestFailedHandshakesAreCountedWithTheirCause},
		{"OlderVersionsOfTheProtocolAreNotLetIn", k.TestOlderVersionsOfTheProtocolAreNotLetIn},
		{"AFrameComesWithTheKeyThatItsSenderHasProved", k.TestAFrameComesWithTheKeyThatItsSenderHasProved},
		{"EachListenerDecidesForItself", k.TestEachListenerDecidesForItself},
		{"WhereNothingAdmitsNobodyIsLetIn", k.TestWhereNothingAdmitsNobodyIsLetIn},
		{"WhoIsNotLetInTriesAgain", k.TestWhoIsNotLetInTriesAgain},
		{"WhoIsLetInOrNotListedIsNoFailedHandshake", k.TestWhoIsLetInOrNotListedIsNoFailedHandshake},
	}, k.paths(), k.onLinux()) {
		t.Run(c.name, c.run)
	}
}

func (k kit) listen(t testing.TB, endpoint string) transport.Listener {
	t.Helper()
	return Listen(t, k.network, endpoint)
}

func (k kit) dial(t testing.TB, endpoint string) transport.Conn {
	t.Helper()
	return Dial(t, k.network, endpoint)
}

func all(string) bool  { return true }
func none(string) bool { return false }
