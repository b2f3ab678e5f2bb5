package script

import (
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/wire"
)

// Case is a conversation about one version of one API.
type Case struct {
	API     *wire.API
	Version int16
	// Name is unique within the version; the same name in several versions is the same question.
	Name string
	// Good says that a client which does everything right may ask this.
	Good bool

	subject *subject
	fresh   bool // its own topic is made before all cases
	ask     func(s *Session) error
}

// subject is one API in the script.
type subject struct {
	key int16
	// build returns the good request; the forms and mutations change it.
	build func(s *Session) kmsg.Request
	// prepare runs before each case, on its connection, and is not part of the transcript.
	prepare []func(s *Session) error
	// pool names topics that are handed from case to case, and in which offsets count from where the case
	// found the end; empty: topic is the case's own, made before all cases if there is a fresh one to be.
	pool  string
	fresh bool
	forms []form
	// values replaces what mutations put into a field; the key is the field's name. No values: it stays.
	values map[string][]value
	// repeat says that an answer is not the last word, such as while a transaction is completed.
	repeat func(s *Session, r kmsg.Response) bool
	// learn keeps what later steps of a conversation need.
	learn func(s *Session, r kmsg.Response)
	// after are requests that look at what the case has left behind.
	after []func(s *Session) error
	// mineOnly hides what other cases have left in answers that list everything.
	mineOnly bool
	// sorted says that the order in an answer means nothing.
	sorted bool
	// unlike are fields whose numbers differ from broker to broker.
	unlike []string
}

// form is a named change of the good request. Without change it is a conversation by itself.
type form struct {
	name string
	good bool
	from int16 // the first version that has it
	// change returns false where the form does not exist in the version.
	change func(s *Session, r kmsg.Request)
	steps  []func(s *Session) error
	// fresh says that the case's own topic is made before all cases.
	fresh bool
}

// Cases returns the whole script in a fixed order.
func Cases() []Case {
	var all []Case
	for i := range subjects {
		s := &subjects[i]
		api, ok := wire.LookupAPI(s.key)
		if !ok {
			continue
		}
		for v := api.MinServed; v <= api.MaxAdvertised; v++ {
			all = s.appendCases(all, api, v)
		}
	}
	return append(all, strangers()...)
}

func (u *subject) appendCases(all []Case, api *wire.API, version int16) []Case {
	add := func(name string, good bool, ask func(s *Session) error) {
		all = append(all, Case{API: api, Version: version, Name: name, Good: good, subject: u, fresh: u.fresh, ask: ask})
	}
	add("good", true, func(s *Session) error { return s.converse(u.build(s), version) })
	for _, f := range u.forms {
		if version < f.from {
			continue
		}
		add(f.name, f.good, func(s *Session) error {
			if f.change != nil {
				r := u.build(s)
				f.change(s, r)
				return s.converse(r, version)
			}
			for _, step := range f.steps {
				if err := step(s); err != nil {
					return err
				}
			}
			return nil
		})
		all[len(all)-1].fresh = f.fresh || u.fresh
	}
	changes := mutations(u, version)
	for _, m := range changes {
		add(m.name, false, func(s *Session) error {
			r := u.build(s)
			m.apply(s, r)
			return s.converse(r, version)
		})
	}
	if len(changes) == 0 || version == api.MinServed || version == api.MaxAdvertised || version == api.FlexibleFrom {
		for _, f := range frames(u, version) {
			add("frame: "+f.name, false, func(s *Session) error {
				r := u.build(s)
				return s.exchange(r, version, f.change(s, r))
			})
		}
	}
	return all
}

// ID names the case: the API, its version, the case.
func (c *Case) ID() string { return fmt.Sprintf("%s v%d %s", c.API.Name, c.Version, c.Name) }

// own is what all names begin with that belong to this case.
func (c *Case) own() string {
	return fmt.Sprintf("k%dv%d-%08x-", c.API.Key, c.Version, crc32.ChecksumIEEE([]byte(c.Name)))
}
