package handler

import (
	"fmt"
	"maps"
	"sync/atomic"

	"github.com/moldau/moldau/internal/wire"
)

// Set is the table of handlers by API key. One goroutine adds to it while the server may already serve
// what is there.
type Set struct {
	byKey atomic.Pointer[map[int16]Handler] // replaced as a whole
}

// NewSet returns an empty table.
func NewSet() *Set {
	s := &Set{}
	s.byKey.Store(&map[int16]Handler{})
	return s
}

// Add registers the handler of one API. The key must have a row in one of wire's tables and no
// handler yet.
func (s *Set) Add(key int16, h Handler) {
	_, public := wire.LookupAPI(key)
	if _, ofPeers := wire.LookupPeerAPI(key); !public && !ofPeers {
		panic(fmt.Sprintf("BUG: handler for API key %d, which has no row in the version table", key))
	}
	byKey := maps.Clone(*s.byKey.Load())
	if _, taken := byKey[key]; taken {
		panic(fmt.Sprintf("BUG: two handlers for API key %d", key))
	}
	byKey[key] = h
	s.byKey.Store(&byKey)
}

// Lookup returns the handler of key, or nil.
func (s *Set) Lookup(key int16) Handler { return (*s.byKey.Load())[key] }
