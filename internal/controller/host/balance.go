package host

import (
	"context"
	"encoding/json"

	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/internal/controller/balancer"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/wire"
)

type balanceMetrics struct {
	moving  *metrics.Gauge
	stalled *metrics.Gauge
	begun   *metrics.Counter
	bytes   *metrics.Counter
}

func (h *Host) newBalanceMetrics(r *metrics.Registry) {
	h.balance = balanceMetrics{
		moving:  r.Gauge("moldau_balancer_moving_partitions", "Partitions that the balancer of this controller moves."),
		stalled: r.Gauge("moldau_balancer_stalled", "1 while this controller's balancer has something to move and cannot: the log and moldau balance status say why."),
		begun:   r.Counter("moldau_balancer_moves_total", "Partitions that this controller's balancer has begun to give other replicas, or another order of them."),
		bytes:   r.Counter("moldau_balancer_planned_bytes_total", "Bytes that had to be copied for these moves."),
	}
}

// view is what the balancer sees.
func (h *Host) view() balancer.View {
	image := h.office.Image()
	if h.settingsOf != image {
		h.settingsOf, h.settings = image, h.o.Controller.BalancerSettings(image)
	}
	return balancer.View{Image: image, Settings: h.settings, MinISR: h.o.Controller.MinISR(image)}
}

// doBalance carries out what the balancer wants done now.
func (h *Host) doBalance(ctx context.Context, now int64) {
	if h.balancer == nil || !h.office.Held().IsSelf {
		return
	}
	step := h.balancer.Tick(h.view(), now)
	if step.News != "" {
		h.o.Logger.Info("balancer", "state", step.News)
	}
	if len(step.Cancel) > 0 {
		h.o.Logger.Warn("the balancer takes back moves to brokers that are gone or are emptied", "partitions", len(step.Cancel), "first", step.Cancel[0].String())
		h.proposeOwn(ctx, h.o.Controller.CancelBalance(h.office.Input(), step.Cancel))
	}
	if len(step.Elect) > 0 {
		h.proposeOwn(ctx, h.o.Controller.PreferLeaders(h.office.Input(), step.Elect))
	}
	for _, move := range step.Start {
		h.o.Logger.Debug("the balancer moves a partition", "topic", move.Topic, "partition", move.Partition, "from", move.From, "to", move.To, "bytes", move.Bytes, "why", move.Why)
		h.balance.begun.Inc()
		h.balance.bytes.Add(move.Bytes)
	}
	if len(step.Start) > 0 {
		h.proposeOwn(ctx, h.o.Controller.Balance(h.office.Input(), step.Start))
	}
	if step.IsJoiningChanged {
		h.o.Logger.Info("brokers that are being given their share", "brokers", step.Joining, "before", h.settings.Joining)
		h.proposeOwn(ctx, h.o.Controller.SetJoining(step.Joining))
	}
	moving, isStalled := h.balancer.Progress()
	h.balance.moving.Set(int64(moving))
	h.balance.stalled.Set(0)
	if isStalled {
		h.balance.stalled.Set(1)
	}
}

func (h *Host) endBalance() {
	if h.balancer != nil {
		h.balancer.Deactivate()
		h.settingsOf = nil
		h.balance.moving.Set(0)
		h.balance.stalled.Set(0)
	}
}

// takeLoad hands the balancer a broker's report.
func (h *Host) takeLoad(req *wire.PeerLoadRequest) *wire.PeerLoadResponse {
	if h.balancer == nil {
		return &wire.PeerLoadResponse{ErrorCode: int16(kafka.ErrUnsupportedVersion)}
	}
	return h.balancer.Report(h.view(), req, h.nowMs())
}

// describeBalance says what the balancer does, or would do.
func (h *Host) describeBalance(req *wire.PeerBalancerRequest) *wire.PeerBalancerResponse {
	var answer any
	switch {
	case h.balancer == nil && req.IsPlan:
		answer = balance.Proposal{Why: aloneWhy}
	case h.balancer == nil:
		answer = balance.Status{State: "idle", Why: aloneWhy}
	case req.IsPlan:
		answer = h.balancer.Propose(h.view(), h.nowMs())
	default:
		answer = h.balancer.Status(h.view(), h.nowMs())
	}
	data, err := json.Marshal(answer)
	if err != nil {
		h.o.Logger.Error("BUG: the balancer's state cannot be written", "error", err)
		return &wire.PeerBalancerResponse{ErrorCode: int16(kafka.ErrUnknownServerError)}
	}
	return &wire.PeerBalancerResponse{Data: data}
}

const aloneWhy = "this node is a cluster of its own"
