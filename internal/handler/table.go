package handler

import (
	"fmt"

	"github.com/moldau/moldau/internal/wire"
)

// Set is the table of handlers by API key; the broker builds it once, before the server starts.
type Set struct {
	byKey map[int16]Handler
}

// NewSet returns an empty table.
func NewSet() *Set { return &Set{byKey: map[int16]Handler{}} }

// Add registers the handler of one API. The key must have a row in one of wire's tables and no
// handler yet.
func (s *Set) Add(key int16, h Handler) {
	_, public := wire.LookupAPI(key)
	if _, ofPeers := wire.LookupPeerAPI(key); !public && !ofPeers {
		panic(fmt.Sprintf("BUG: handler for API key %d, which has no row in the version table", key))
	}
	if _, taken := s.byKey[key]; taken {
		panic(fmt.Sprintf("BUG: two handlers for API key %d", key))
	}
	s.byKey[key] = h
}

// Lookup returns the handler of key, or nil.
func (s *Set) Lookup(key int16) Handler { return s.byKey[key] }
