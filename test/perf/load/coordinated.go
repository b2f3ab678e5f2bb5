package load

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Coordinated is a client as insistent as Insistent that has groups commit offsets and send heartbeats, and
// transactions take a partition and end, each one after the other.
type Coordinated struct {
	seeds  []string
	topic  string
	cancel context.CancelFunc
	wait   sync.WaitGroup
	*reigns
}

const (
	// The latest versions that are not flexible.
	coordinatedFind, coordinatedJoin, coordinatedSync, coordinatedCommit, coordinatedHeartbeat = 2, 5, 3, 7, 3
	coordinatedInit, coordinatedAdd, coordinatedEnd                                            = 1, 2, 2
)

// What becomes of a cycle that did not succeed, besides that another coordinator is to be looked for.
var (
	errLater  = errors.New("the coordinator says to come back")
	errForget = errors.New("the coordinator knows another generation of the group or of the producer")
)

// StartCoordinated begins with so many groups and as many transactional ids, which the reigns number in this order.
// The topic has a partition at least. Stop ends it.
func StartCoordinated(seeds []string, topic string, groups int) *Coordinated {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Coordinated{seeds: seeds, topic: topic, cancel: cancel, reigns: newReigns(2 * groups)}
	for i := range 2 * groups {
		w := &coordinated{c: c, index: i, key: fmt.Sprintf("group-%d", i), cycle: (*coordinated).group, links: links{}, producerID: -1}
		if i >= groups {
			w.kind, w.key, w.cycle = 1, fmt.Sprintf("transactional-%d", i-groups), (*coordinated).transaction
		}
		c.wait.Go(func() { w.run(ctx) })
	}
	return c
}

// Stop ends it.
func (c *Coordinated) Stop() {
	c.cancel()
	c.wait.Wait()
}

// coordinated is one group's member or one transactional producer.
type coordinated struct {
	c     *Coordinated
	index int
	kind  int8 // as FindCoordinator has it
	key   string
	cycle func(w *coordinated, ctx context.Context) error

	links  links
	broker int32
	addr   string // of the coordinator, empty while it is not known

	member     string
	generation int32
	producerID int64
	epoch      int16
}

func (w *coordinated) run(ctx context.Context) {
	defer w.links.close()
	for ctx.Err() == nil {
		if w.addr == "" && !w.find(ctx, "") {
			pause(ctx)
			continue
		}
		switch err := w.cycle(w, ctx); {
		case err == nil:
			w.c.note(w.index, w.broker)
		case errors.Is(err, errMoved):
		case errors.Is(err, errLater):
			pause(ctx)
		case errors.Is(err, errForget):
			w.generation, w.producerID = 0, -1
			pause(ctx)
		case errors.Is(err, kerr.UnknownMemberID):
			w.generation, w.member = 0, ""
			pause(ctx)
		default:
			suspect := w.addr
			w.links.drop(suspect)
			w.addr = ""
			pause(ctx)
			w.find(ctx, suspect)
		}
	}
}

// group is a commit and a heartbeat of a member, which joins before where it has to.
func (w *coordinated) group(ctx context.Context) error {
	if w.generation == 0 {
		if err := w.join(ctx); err != nil {
			return err
		}
	}
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.SetVersion(coordinatedCommit)
	commit.Group, commit.Generation, commit.MemberID = w.key, w.generation, w.member
	commit.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: w.c.topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Offset: 1, LeaderEpoch: -1}}}}
	resp, err := w.ask(ctx, commit)
	if err == nil {
		err = outcomeOf(resp.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		return err
	}
	heartbeat := kmsg.NewPtrHeartbeatRequest()
	heartbeat.SetVersion(coordinatedHeartbeat)
	heartbeat.Group, heartbeat.Generation, heartbeat.MemberID = w.key, w.generation, w.member
	if resp, err = w.ask(ctx, heartbeat); err == nil {
		err = outcomeOf(resp.(*kmsg.HeartbeatResponse).ErrorCode)
	}
	return err
}

func (w *coordinated) join(ctx context.Context) error {
	join := kmsg.NewPtrJoinGroupRequest()
	join.SetVersion(coordinatedJoin)
	join.Group, join.MemberID, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = w.key, w.member, "consumer", 30_000, 60_000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "none", Metadata: []byte{}}}
	resp, err := w.ask(ctx, join)
	if err != nil {
		return err
	}
	joined := resp.(*kmsg.JoinGroupResponse)
	if kerr.ErrorForCode(joined.ErrorCode) == kerr.MemberIDRequired {
		w.member = joined.MemberID
		return w.join(ctx)
	}
	if err := outcomeOf(joined.ErrorCode); err != nil {
		return err
	}
	w.member = joined.MemberID
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.SetVersion(coordinatedSync)
	sync.Group, sync.MemberID, sync.Generation = w.key, w.member, joined.Generation
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: w.member, MemberAssignment: []byte{}}}
	if resp, err = w.ask(ctx, sync); err == nil {
		err = outcomeOf(resp.(*kmsg.SyncGroupResponse).ErrorCode)
	}
	if err == nil {
		w.generation = joined.Generation
	}
	return err
}

// transaction takes a partition and commits.
func (w *coordinated) transaction(ctx context.Context) error {
	if w.producerID < 0 {
		begin := kmsg.NewPtrInitProducerIDRequest()
		begin.SetVersion(coordinatedInit)
		begin.TransactionalID, begin.TransactionTimeoutMillis = &w.key, 60_000
		resp, err := w.ask(ctx, begin)
		if err != nil {
			return err
		}
		begun := resp.(*kmsg.InitProducerIDResponse)
		if err := outcomeOf(begun.ErrorCode); err != nil {
			return err
		}
		w.producerID, w.epoch = begun.ProducerID, begun.ProducerEpoch
	}
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.SetVersion(coordinatedAdd)
	add.TransactionalID, add.ProducerID, add.ProducerEpoch = w.key, w.producerID, w.epoch
	add.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: w.c.topic, Partitions: []int32{0}}}
	resp, err := w.ask(ctx, add)
	if err == nil {
		err = outcomeOf(resp.(*kmsg.AddPartitionsToTxnResponse).Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		return err
	}
	end := kmsg.NewPtrEndTxnRequest()
	end.SetVersion(coordinatedEnd)
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = w.key, w.producerID, w.epoch, true
	if resp, err = w.ask(ctx, end); err == nil {
		err = outcomeOf(resp.(*kmsg.EndTxnResponse).ErrorCode)
	}
	return err
}

// outcomeOf says what is to be done upon a coordinator's answer.
func outcomeOf(code int16) error {
	switch err := kerr.ErrorForCode(code); err {
	case nil:
		return nil
	case kerr.CoordinatorLoadInProgress, kerr.ConcurrentTransactions, kerr.UnknownTopicOrPartition, kerr.NotLeaderForPartition:
		return errLater
	case kerr.IllegalGeneration, kerr.RebalanceInProgress, kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidProducerIDMapping, kerr.InvalidTxnState:
		return errForget
	default:
		return err
	}
}

// ask sends a request to the coordinator and waits for its answer, for as long as no other broker is the coordinator.
func (w *coordinated) ask(ctx context.Context, request kmsg.Request) (kmsg.Response, error) {
	l, err := w.links.to(w.addr)
	if err != nil {
		return nil, err
	}
	broker, addr := w.broker, w.addr
	response, err := l.await(ctx, request, func() bool {
		if w.find(ctx, addr) && w.broker != broker {
			return true
		}
		w.broker, w.addr = broker, addr
		return false
	})
	if errors.Is(err, errMoved) {
		w.links.drop(addr)
	}
	return response, err
}

// find asks the brokers but the suspect who the coordinator is.
func (w *coordinated) find(ctx context.Context, suspect string) bool {
	return anyBut(ctx, w.c.seeds, suspect, w.index, w.askWho)
}

func (w *coordinated) askWho(addr string) bool {
	request := kmsg.NewPtrFindCoordinatorRequest()
	request.SetVersion(coordinatedFind)
	request.CoordinatorKey, request.CoordinatorType = w.key, w.kind
	response, ok := w.links.ask(addr, request).(*kmsg.FindCoordinatorResponse)
	if !ok || response.ErrorCode != 0 {
		return false
	}
	w.broker, w.addr = response.NodeID, fmt.Sprintf("%s:%d", response.Host, response.Port)
	return true
}
