//go:build unix

package eos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestFranzGo runs instances of a kgo.GroupTransactSession.
func TestFranzGo(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run(t, program{name: "franzgo", instances: 3, outputOf: upperCase, command: func() *exec.Cmd {
		cmd := exec.Command(self)
		cmd.Env = append(cmd.Environ(), asWorker+"=1")
		return cmd
	}})
}

// franzgoWorker is the program itself. Whatever breaks its session ends it; it is started again.
func franzgoWorker() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := transform(ctx); err != nil && ctx.Err() == nil {
		fmt.Println(err)
		return 3
	}
	return 0
}

func transform(ctx context.Context) error {
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(os.Getenv("EOS_BOOTSTRAP")), kgo.TransactionalID(os.Getenv("EOS_ID")), kgo.TransactionTimeout(5*time.Second),
		kgo.ConsumerGroup(os.Getenv("EOS_GROUP")), kgo.ConsumeTopics(inputTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(), kgo.DefaultProduceTopic(outputTopic),
		kgo.SessionTimeout(2*time.Second), kgo.HeartbeatInterval(300*time.Millisecond), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.WithLogger(kgo.BasicLogger(os.Stdout, kgo.LogLevelWarn, func() string { return time.Now().UTC().Format("15:04:05.000 ") })),
	)
	if err != nil {
		return err
	}
	defer session.Close()
	for ctx.Err() == nil {
		fetches := session.PollRecords(ctx, 50)
		if err := session.Begin(); err != nil {
			return err
		}
		failed := kgo.AbortingFirstErrPromise(session.Client())
		fetches.EachRecord(func(r *kgo.Record) {
			session.Produce(ctx, &kgo.Record{Key: r.Key, Value: []byte(strings.ToUpper(string(r.Value)))}, failed.Promise())
		})
		commit := failed.Err() == nil
		if _, err := session.End(context.Background(), kgo.TransactionEndTry(commit)); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}
