package host

import (
	"context"
	"encoding/json"
	"reflect"
	"time"

	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/internal/config"
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
		h.settingsOf, h.answers = nil, [2]balanceAnswer{}
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

// answerPart is how many times as long an answer about the balancer counts as it took to make: with ten thousand partitions
// that is a tenth of a second of the controller's time, and any number of clients may ask.
const answerPart = 20

// balanceAnswer is what was said about the balancer last.
type balanceAnswer struct {
	data     []byte
	settings config.Balancer
	until    time.Time
}

// describeBalance says what the balancer does, or would do, or has said a moment ago. Who has asked for something
// is answered anew.
func (h *Host) describeBalance(req *wire.PeerBalancerRequest) *wire.PeerBalancerResponse {
	answer := &h.answers[0]
	if req.IsPlan {
		answer = &h.answers[1]
	}
	settings, now := h.view().Settings, h.o.Clock.Now()
	if answer.data == nil || !now.Before(answer.until) || !reflect.DeepEqual(answer.settings, settings) {
		data, err := json.Marshal(h.balanceNow(req.IsPlan))
		if err != nil {
			h.o.Logger.Error("BUG: the balancer's state cannot be written", "error", err)
			return &wire.PeerBalancerResponse{ErrorCode: int16(kafka.ErrUnknownServerError)}
		}
		made := h.o.Clock.Now()
		*answer = balanceAnswer{data, settings, made.Add(answerPart * made.Sub(now))}
	}
	return &wire.PeerBalancerResponse{Data: answer.data}
}

func (h *Host) balanceNow(isPlan bool) any {
	switch {
	case h.balancer == nil && isPlan:
		return balance.Proposal{Why: aloneWhy}
	case h.balancer == nil:
		return balance.Status{State: "idle", Why: aloneWhy}
	case isPlan:
		return h.balancer.Propose(h.view(), h.nowMs())
	}
	return h.balancer.Status(h.view(), h.nowMs())
}

const aloneWhy = "this node is a cluster of its own"
