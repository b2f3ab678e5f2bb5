package segment

import (
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
)

func TestReadEnds(t *testing.T) {
	t.Parallel()
	s := create(t, memDir(t, vfs.NewMem(), 1000), 1000)
	if _, known := s.ReadEnd(1000); known {
		t.Error("an end is known before anybody has read")
	}
	s.NoteReadEnd(1000, 0) // where the segment begins needs no memory
	for i := range int64(12) {
		s.NoteReadEnd(1001+i, 70*(1+i))
		s.NoteReadEnd(1001+i, 70*(1+i)) // the same by another reader takes no second place
	}
	for i := range int64(12) {
		position, known := s.ReadEnd(1001 + i)
		if known != (i >= 4) || known && position != 70*(1+i) {
			t.Errorf("end %d: %d, known %v", i, position, known)
		}
	}
	if _, known := s.ReadEnd(1000); known {
		t.Error("the beginning of the segment is taken for an end")
	}
}
