package lifecycle

import (
	"fmt"
	"strings"
	"testing"
)

const contactSession = 1500

// contactScript plays lines against a Contact and demands what they say:
//
//	voters 1 2 3 @0             at 0 these vote
//	answer 2 sent 90 end 8 @100 at 100 voter 2 answers what was sent at 90, and its log ends at 8
//	isolated 7 @2000 yes        at 2000, with the metadata applied up to 7
func contactScript(t *testing.T, self int32, script string) {
	t.Helper()
	c := NewContact(self, contactSession)
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		line = strings.TrimSpace(line)
		what, comment, _ := strings.Cut(line, "#")
		words, at, _ := strings.Cut(what, "@")
		var nowMs int64
		var want string
		_, _ = fmt.Sscan(at, &nowMs, &want)
		var voter int32
		var sentMs, end, applied int64
		switch f := strings.Fields(words); f[0] {
		case "voters":
			var ids []int32
			for _, word := range f[1:] {
				var id int32
				_, _ = fmt.Sscan(word, &id)
				ids = append(ids, id)
			}
			c.SetVoters(ids, nowMs)
		case "answer":
			if _, err := fmt.Sscanf(words, "answer %d sent %d end %d", &voter, &sentMs, &end); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			c.Answered(voter, sentMs, nowMs, end)
		case "isolated":
			if _, err := fmt.Sscanf(words, "isolated %d", &applied); err != nil || want != "yes" && want != "no" {
				t.Fatalf("%s: %v", line, err)
			}
			certain := nowMs < c.CertainUntilMs()
			if got := c.IsIsolated(nowMs, applied); got != (want == "yes") || got && certain {
				t.Errorf("%s: isolated is %t, certain not to be before %t%s", words, got, certain, comment)
			}
		default:
			t.Fatalf("what is %q", line)
		}
	}
}

// A broker is isolated when its session has passed since it sent the last of what a majority has answered.
func TestContactNeedsAnswersOfAMajority(t *testing.T) {
	t.Parallel()
	contactScript(t, 1, `
		isolated 7 @1000000 no                # before any voter is known
		voters 1 2 3 @1000000
		isolated 7 @1001499 no                # they have not had the time to answer
		isolated 7 @1001500 yes
	`)
	contactScript(t, 1, `
		voters 1 2 3 @0
		answer 1 sent 1400 end 8 @1400
		isolated 7 @1500 yes                  # its own voter alone is no majority
	`)
	contactScript(t, 1, `
		voters 1 2 3 @0
		answer 2 sent 1000 end 8 @1400
		isolated 7 @2499 no                   # the other voter's session counts from when that may have heard, which is not the answer
		answer 9 sent 2400 end 8 @2450        # who does not vote
		isolated 7 @2500 yes
	`)
	contactScript(t, 4, `
		voters 1 2 3 @0
		answer 2 sent 1000 end 8 @1000
		isolated 7 @1500 yes                  # who does not vote needs two of three
	`)
	contactScript(t, 4, `
		voters 1 2 3 @0
		answer 2 sent 1000 end 8 @1000
		answer 3 sent 1100 end 8 @1100
		isolated 7 @2499 no
		voters 2 3 5 @2000                    # who joins counts as heard of
		isolated 7 @2599 no
		isolated 7 @2600 yes
	`)
}

// One that is the only voter, or knows of none, is never isolated, however long its process was stopped.
func TestContactOfOneAlone(t *testing.T) {
	t.Parallel()
	contactScript(t, 1, `
		voters 1 @0
		isolated 7 @3600000 no
		answer 1 sent 3600000 end 9 @3600000
		isolated 7 @9000000 no
	`)
	contactScript(t, 1, `
		voters @0
		isolated 7 @3600000 no
	`)
	contactScript(t, 1, `
		voters 1 2 @0
		isolated 7 @2000 yes
		voters 1 @2500                        # the other one was removed
		isolated 7 @2500 yes
		answer 1 sent 2600 end 8 @2600
		isolated 7 @2600 no
	`)
}

// A process that was stopped is isolated at once when it goes on, whatever has come meanwhile, until it has what others have
// decided; this broker is voter 1, who was the active controller.
func TestContactAfterAPause(t *testing.T) {
	t.Parallel()
	contactScript(t, 1, `
		voters 1 2 3 @0
		answer 2 sent 1100 end 8 @4000
		isolated 7 @4000 yes
		answer 1 sent 4000 end 8 @4000
		isolated 7 @4001 yes                  # its own log says nothing of others'
		answer 2 sent 4001 end 12 @4003
		isolated 7 @4003 yes                  # there is something new
		isolated 10 @4005 yes
		isolated 11 @4006 no
		isolated 11 @5500 no
		isolated 11 @5501 yes
	`)
	contactScript(t, 4, `
		voters 1 2 3 @0
		isolated 7 @4000 yes
		answer 1 sent 4001 end 8 @4002
		answer 2 sent 4001 end 20 @4003       # one that has what will be cut off
		isolated 7 @4003 yes
		answer 3 sent 4001 end 8 @4004
		isolated 7 @4004 no                   # what a majority lacks was not decided
	`)
	contactScript(t, 4, `
		voters 1 2 3 @0
		isolated 7 @4000 yes
		answer 1 sent 4001 end 20 @4003
		answer 2 sent 4001 end 20 @4003
		isolated 7 @4003 yes
		answer 1 sent 4101 end 9 @4103        # another leader has cut it off
		answer 2 sent 4101 end 9 @4103
		answer 1 sent 4050 end 20 @4104       # late
		isolated 7 @4104 yes
		isolated 8 @4105 no
	`)
	contactScript(t, 1, `
		voters 1 2 3 @0
		isolated 7 @4000 yes
		answer 1 sent 4001 end 8 @4001
		answer 2 sent 4001 end 12 @4002
		isolated 11 @9000 yes                 # stopped once more, it has applied what was decided before
		answer 3 sent 9001 end 15 @9002
		isolated 11 @9003 yes
		answer 1 sent 9003 end 12 @9003
		isolated 14 @9004 no
	`)
}

// A pause or a gap that is shorter than a session isolates nobody.
func TestContactAfterAShortPause(t *testing.T) {
	t.Parallel()
	contactScript(t, 1, `
		voters 1 2 3 @0
		answer 2 sent 1000 end 8 @1001
		isolated 7 @2499 no
		answer 2 sent 1100 end 30 @2499       # that it lacks something is of no importance then
		isolated 7 @2599 no
		isolated 7 @2600 yes
	`)
}
