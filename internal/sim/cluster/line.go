package cluster

import (
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/sim"
)

// line is a client's way to whoever leads.
type line struct{ client }

func (w *World) newLine(name string, prompt bool) sim.Line {
	l := &line{newClient(w, name)}
	l.prompt = prompt
	return l
}

// Reaches implements sim.Line.
func (l *line) Reaches(tp kafka.TopicPartition, again func()) bool {
	if l.leader(tp) == kafka.NoLeader {
		l.refresh(again)
		return false
	}
	return true
}

// LeaderEpoch implements sim.Line.
func (l *line) LeaderEpoch(tp kafka.TopicPartition) int32 {
	return l.image.Partition(tp.Topic, tp.Partition).LeaderEpoch
}

// Ask implements sim.Line.
func (l *line) Ask(tp kafka.TopicPartition, _ string, handle func(at *sim.Coordinators, answer func(any)), done func(any), again func()) {
	l.ask(l.leader(tp), func(p *process, answer func(any)) { handle(p.coordinators.Coordinators, answer) }, func(answer any, err error) {
		if err != nil {
			l.refresh(again)
			return
		}
		done(answer)
	})
}

// ledAt is who leads a partition, nil if nobody does.
func (w *World) ledAt(tp kafka.TopicPartition) *sim.Coordinators {
	assigned := w.latest.Partition(tp.Topic, tp.Partition)
	if assigned == nil || assigned.Leader == kafka.NoLeader || w.node(assigned.Leader).process == nil {
		return nil
	}
	return w.node(assigned.Leader).process.coordinators.Coordinators
}
