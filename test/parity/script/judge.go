package script

import (
	"fmt"
	"regexp"
	"strings"
)

// Difference is one that is meant; PARITY.md has it as a row of the same words.
type Difference struct {
	Where, Kafka, Moldau string
	rules                []*rule
}

// rule says what becomes of Apache Kafka's answer in some cases: what matches from is replaced by to.
type rule struct {
	cases *regexp.Regexp // of IDs
	from  *regexp.Regexp
	to    string // as in ReplaceAllString
	// theirs and ours are what the answers look like where they have little in common.
	theirs, ours *regexp.Regexp
	used         bool
}

func in(cases, from, to string) *rule {
	return &rule{cases: regexp.MustCompile(cases), from: regexp.MustCompile(from), to: to}
}

// instead is a rule for answers that have little in common.
func instead(cases, theirs, ours string) *rule {
	return &rule{cases: regexp.MustCompile(cases), theirs: regexp.MustCompile(theirs), ours: regexp.MustCompile(ours)}
}

// apply returns what a rule makes of the expected answer.
func (r *rule) apply(expected, moldau string) string {
	if r.ours == nil {
		return r.from.ReplaceAllString(expected, r.to)
	}
	if r.theirs.MatchString(expected) && r.ours.MatchString(moldau) {
		return moldau
	}
	return expected
}

// Judge compares Moldau's answers with Apache Kafka's and returns what is wrong: differences that are not stated,
// and stated ones that do not exist.
func Judge(cases []Case, kafka, moldau []string) (problems []string) {
	differences := Differences()
	for i := range cases {
		if expected, same := agree(differences, cases[i].ID(), kafka[i], moldau[i]); !same {
			expected, moldau := apart(expected, moldau[i])
			problems = append(problems, fmt.Sprintf("%s\n  expected: %s\n  Moldau:   %s", cases[i].ID(), expected, moldau))
		}
	}
	for _, d := range differences {
		for _, r := range d.rules {
			if !r.used {
				problems = append(problems, fmt.Sprintf("the stated difference %q does not exist in any case of %s", d.Where, r.cases))
			}
		}
	}
	return problems
}

// agree reports whether Moldau's answer is what Apache Kafka's becomes by the stated differences.
func agree(differences []Difference, id, kafka, moldau string) (expected string, same bool) {
	expected = kafka
	for _, d := range differences {
		for _, r := range d.rules {
			if !r.cases.MatchString(id) {
				continue
			}
			if changed := r.apply(expected, moldau); changed != expected {
				expected, r.used = changed, true
			}
		}
	}
	return expected, moldau == expected || saysMore(moldau, expected)
}

// maxWavering is how many cases of a run Apache Kafka may answer in another way than it did when the goldens were recorded.
const maxWavering = 3

// Steady puts the recorded answer in the place of Apache Kafka's where Moldau agrees with the recorded one only, and returns the
// cases in which it did: there Apache Kafka has answered in two ways, which a race inside it or a random id does. Where they are
// more than a few, something else is the matter, and nothing is replaced.
func Steady(cases []Case, kafka, moldau []string, recorded map[string]string) (wavering []string) {
	differences := Differences()
	var at []int
	for i := range cases {
		id := cases[i].ID()
		if _, same := agree(differences, id, kafka[i], moldau[i]); same || recorded[id] == "" {
			continue
		}
		if _, same := agree(differences, id, recorded[id], moldau[i]); same {
			at = append(at, i)
		}
	}
	if len(at) > maxWavering {
		return nil
	}
	for _, i := range at {
		wavering = append(wavering, fmt.Sprintf("%s\n  now:      %s\n  recorded: %s", cases[i].ID(), kafka[i], recorded[cases[i].ID()]))
		kafka[i] = recorded[cases[i].ID()]
	}
	return wavering
}

// apart cuts off what two answers have in common at their beginning, and what is far behind.
func apart(a, b string) (string, string) {
	const before, behind = 60, 400
	at := 0
	for at < len(a) && at < len(b) && a[at] == b[at] {
		at++
	}
	from := max(at-before, 0)
	cut := func(s string) string { return s[from:min(len(s), at+behind)] }
	return cut(a), cut(b)
}

// message is one beside an error; the one of a record is a part of the protocol's answer.
const message = " ErrorMessage=<text>"

// nothingToSay is an empty message beside an error.
var nothingToSay = regexp.MustCompile(`(ErrorCode=\w+) ErrorMessage=""`)

// saysMore reports whether Moldau's answer is the expected one but for messages that it has in addition.
func saysMore(moldau, expected string) bool {
	expected = nothingToSay.ReplaceAllString(expected, "$1")
	for moldau != expected {
		at := 0
		for at < len(moldau) && at < len(expected) && moldau[at] == expected[at] {
			at++
		}
		// The first difference may lie behind the space or within a name that begins alike.
		from := strings.LastIndex(moldau[:min(len(moldau), at+1)], " ")
		if from < 0 || !strings.HasPrefix(moldau[from:], message) || !strings.Contains(moldau[:from], "ErrorCode=") {
			return false
		}
		moldau = moldau[:from] + moldau[from+len(message):]
	}
	return true
}
