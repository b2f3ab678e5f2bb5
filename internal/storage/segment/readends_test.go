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
	s.NoteReadEnd(1000, 0, 0) // where the segment begins needs no memory
	for i := range int64(12) {
		s.NoteReadEnd(1001+i, 70*(1+i), 0)
		s.NoteReadEnd(1001+i, 70*(1+i), 0) // the same by another reader takes no second place
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
	if err := s.dir.cuts.Cut(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	for i, cuts := range []uint64{0, 1, 0} { // the first and the last have read before the cut
		offset := int64(1013 + i)
		s.NoteReadEnd(offset, 910, cuts)
		if _, known := s.ReadEnd(offset); known != (cuts == 1) {
			t.Errorf("end %d of a read after %d cuts is known: %v", offset, cuts, known)
		}
	}
	if _, known := s.ReadEnd(1012); known {
		t.Error("an end from before the cut is known")
	}
}
