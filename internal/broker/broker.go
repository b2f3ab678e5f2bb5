package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	lifecyclehost "github.com/moldau/moldau/internal/broker/lifecycle/host"
	"github.com/moldau/moldau/internal/config"
	controllerhost "github.com/moldau/moldau/internal/controller/host"
	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	metadatahost "github.com/moldau/moldau/internal/metadata/host"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/peer"
	quorumhost "github.com/moldau/moldau/internal/quorum/host"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/server"
	"github.com/moldau/moldau/internal/storage"
	storagehost "github.com/moldau/moldau/internal/storage/host"
	"github.com/moldau/moldau/internal/telemetry"
)

const (
	// maxWaiting bounds the requests that wait in each purgatory.
	maxWaiting = 100_000
	// shutdownWorkers is how many logs are made durable at a time at the end; they wait for the disk.
	shutdownWorkers = 32
	// stopTimeout bounds how long clients' requests in flight may hold up a stop.
	stopTimeout = 10 * time.Second
)

// Options say what to run and where to report.
type Options struct {
	// Properties are Kafka's, by name; nothing is required.
	Properties map[string]string
	Stdout     io.Writer
	Stderr     io.Writer
}

// Run runs a node until ctx ends. The error of a start that failed is one line for the
// operator.
func Run(ctx context.Context, o Options) error {
	c, warnings, err := config.NewBroker(o.Properties)
	if err != nil {
		return err
	}
	if len(warnings.Unused) > 0 {
		fmt.Fprintf(o.Stderr, "warning: accepted without use here: %s\n", strings.Join(warnings.Unused, ", "))
	}
	b := newBroker(ctx, c)
	slog.SetDefault(slog.New(slog.NewTextHandler(o.Stderr, &slog.HandlerOptions{Level: b.logLevel})))
	slog.Info("soft memory limit of the process (GOMEMLIMIT, else nine tenths of the container's or the machine's memory)", "bytes", server.LimitMemory())
	server.SpareCollector()
	if err := b.start(); err != nil {
		return errors.Join(err, b.stop())
	}
	b.printWelcome(o.Stdout)
	var fault error
	select {
	case <-ctx.Done():
	case fault = <-b.faults:
	}
	return errors.Join(fault, b.stop())
}

// initialLogLevel is LOG_LEVEL of the environment, else warnings and above: a start that goes well
// says what matters on stdout.
func initialLogLevel() *slog.LevelVar {
	level := new(slog.LevelVar)
	level.Set(slog.LevelWarn)
	if text := os.Getenv("LOG_LEVEL"); text != "" {
		_ = level.UnmarshalText([]byte(text)) // an unknown level leaves the default
	}
	return level
}

// broker is a node and its parts. start and stop run on one goroutine.
type broker struct {
	ctx     context.Context
	config  *config.Broker
	configs *configs
	// current is the configuration with the dynamic values of the latest metadata.
	current atomic.Pointer[config.Broker]
	// max.message.bytes of __consumer_offsets and __transaction_state.
	offsetsBatchBytes, transactionBatchBytes atomic.Int32

	configured atomic.Bool // the metadata is known: see expireProducers
	metrics    *metrics.Registry
	fs         vfs.FS
	clock      env.Clock
	random     env.Random
	spawner    *env.Spawner
	// faults gets what makes the node end; it has room for the first one, others are only logged.
	faults   chan error
	faulted  atomic.Bool
	ready    atomic.Bool
	stopping atomic.Bool
	logLevel *slog.LevelVar

	dirs         *logDirs
	storage      *storage.Manager
	maintenance  *storagehost.Host
	loader       *metadatahost.Loader
	quorum       *quorumhost.Node
	controller   *controllerhost.Host
	channel      peer.ControllerChannel
	replicas     *replica.Manager
	groups       *coordinator.Groups
	transactions *coordinator.Transactions
	markers      *coordinator.Markers
	producerIDs  *handler.ProducerIDs
	handlers     *handler.Set
	hosting      atomic.Bool // the replicas are started: deltas go to the coordinators too
	server       *server.Server
	http         *server.HTTP
	// telemetry receives clients' metrics; nil where nobody wants them.
	telemetry *telemetry.Manager
	// controllerEndpoints are the addresses of the controller listeners, known before clients are let in.
	controllerEndpoints []handler.Endpoint
	quotas              *quota.Manager
	throttles           throttles
	connections         *quota.Connections
	// controllerConnections are those of the controller listeners, which count apart.
	controllerConnections *quota.Connections
	hosts                 map[string]host // with a limit, as publishQuotas knows them
	overrides             addressOverrides

	life atomic.Pointer[lifecyclehost.Host] // from the registration on
	// incarnation is that of this process, as the controller and other nodes know it.
	incarnation kafka.UUID
	notedEpoch  int64                  // see noteRunning
	clusterID   atomic.Pointer[string] // nil until it is known
	cluster     *cluster               // nil for a node that is alone
	replication *replica.Cluster       // likewise

	diskLimits diskLimits
	watch      *vfs.Watch
	answers    atomic.Bool  // a log dir that was held back is not any more
	stopper    *env.Spawner // runs the steps of the stop; nobody waits for it

	dirsChanged      chan struct{} // see signalDirs; it has room for one
	listenersChanged chan struct{} // see followListeners; it has room for one
	// unregistered says that the controller of this node may have to be registered (followControllers); it has room for one.
	unregistered chan struct{}

	stopSteps []stopStep // in the order of the starts
}

type stopStep struct {
	name string
	run  func() error
}

func newBroker(ctx context.Context, c *config.Broker) *broker {
	b := &broker{
		ctx: ctx, config: c, configs: &configs{static: c}, metrics: metrics.NewRegistry(),
		fs: vfs.OS{}, clock: env.SystemClock{}, random: env.SystemRandom{}, faults: make(chan error, 1), dirsChanged: make(chan struct{}, 1), listenersChanged: make(chan struct{}, 1), unregistered: make(chan struct{}, 1), handlers: handler.NewSet(), logLevel: initialLogLevel(),
	}
	b.incarnation = kafka.NewUUID(b.random)
	b.current.Store(c)
	b.diskLimits = usualDiskLimits
	// Parts end in the order of stop, not all at once when ctx does.
	b.spawner = env.NewSpawner(context.WithoutCancel(ctx), func(_ string, err error) { b.fault(err) })
	b.stopper = env.NewSpawner(context.WithoutCancel(ctx), func(_ string, err error) { b.fault(err) })
	return b
}

// fault makes Run stop the node. It may be called from any goroutine.
func (b *broker) fault(err error) {
	slog.Error("the node cannot go on", "error", err)
	b.faulted.Store(true)
	select {
	case b.faults <- err:
	default:
	}
}

// onStop registers how a part that has just started is stopped.
func (b *broker) onStop(name string, run func() error) {
	b.stopSteps = append(b.stopSteps, stopStep{name, run})
}

// start brings the parts up, each on those before it.
func (b *broker) start() error {
	steps := []func() error{b.openDirs, b.bind, b.greet, b.openStorage, b.startMetadata, b.openListeners, b.register, b.openListeners, b.startReplicas, b.unfence, b.serve}
	if !b.config.IsBroker {
		steps = []func() error{b.openDirs, b.bind, b.greet, b.startMetadata, b.serve}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
		if err := b.ctx.Err(); err != nil {
			return nil // told to stop while starting, which is no failure
		}
	}
	b.ready.Store(true)
	return nil
}

// stop takes the parts down in the opposite order. It may follow a start that failed.
func (b *broker) stop() error {
	b.stopping.Store(true)
	b.ready.Store(false)
	var all error
	if b.cluster != nil && b.faulted.Load() { // it may be a disk that has failed, or hangs
		all = b.runStop(stopStep{"notes in the log dirs", func() error { b.forgetRunning(); return nil }})
	}
	for i := len(b.stopSteps) - 1; i >= 0; i-- {
		if err := b.runStop(b.stopSteps[i]); err != nil {
			all = errors.Join(all, fmt.Errorf("stopping %s: %w", b.stopSteps[i].name, err))
		}
	}
	b.stopSteps = nil
	return all
}

func (b *broker) openDirs() (err error) {
	b.watch = vfs.NewWatch(b.fs, append(slices.Clone(b.config.LogDirs), b.config.MetadataLogDir))
	b.fs = b.watch
	if b.dirs, err = openLogDirs(b.fs, b.config, b.random); err != nil {
		return err
	}
	b.onStop("log dirs", func() error { b.dirs.close(); return nil })
	b.onStop("goroutines", func() error { b.spawner.Stop(); return nil })
	return nil
}

func (b *broker) openStorage() (err error) {
	b.storage, err = storage.OpenManager(storage.Options{
		FS: b.fs, Dirs: b.config.LogDirs, DirectoryIDs: b.dirs.DirectoryIDs, Failed: b.dirs.Failed, Defaults: b.configs.topic(metadata.EmptyImage(), "").Log,
		Metrics: b.metrics, Random: b.random, Clock: b.clock,
		// Until the metadata is there nobody knows the dynamic value, so no producer is forgotten.
		ProducerExpirationMs: math.MaxInt64, OpenFilesPerDir: max(1, vfs.DataFiles(vfs.OpenFilesLimit())/len(b.config.LogDirs)),
		ReserveBytes: b.config.ReserveBytes,
		OnDirOffline: b.logDirFailed, OnLoss: b.forgetRunning, // the next start may find nothing wrong, should this one end before it has registered
	})
	if err != nil {
		return err
	}
	b.storage.SetCordoned(b.isCordoned)
	b.noteCleanStop()
	err = b.storage.Load(storage.LoadOptions{
		NowMs:    b.clock.Now().UnixMilli(),
		Parallel: storagehost.Parallel(b.spawner, recoveryThreads(b.config)),
		ShutdownParallel: func(count int, work func(i int)) {
			storagehost.Parallel(b.spawner, max(shutdownWorkers, recoveryThreads(b.current.Load())))(count, work)
		},
	})
	if err != nil {
		return err
	}
	b.onStop("storage", func() error {
		err := b.storage.Shutdown(b.epoch())
		if err != nil {
			b.forgetRunning() // what could not be flushed may be lost
		}
		return err
	})
	b.maintenance = storagehost.Start(storagehost.Options{
		Manager: b.storage, Clock: b.clock, Spawner: b.spawner,
		RetentionInterval: milliseconds(b.config.RetentionCheckIntervalMs),
		LogStartInterval:  milliseconds(int64(b.config.LogStartOffsetCheckpointIntervalMs)),
	})
	b.onStop("storage maintenance", func() error { b.maintenance.Stop(); return nil })
	b.watchDisks()
	return nil
}

// untilFault returns a context that ends with the start or with a fault.
func (b *broker) untilFault() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(b.ctx)
	b.spawner.Go("start-watch", func(stopped context.Context) {
		select {
		case err := <-b.faults:
			select {
			case b.faults <- err: // for Run, which is still starting and has not read it
			default: // another fault has come in between
			}
			cancel()
		case <-ctx.Done():
		case <-stopped.Done():
		}
	})
	return ctx, cancel
}

// whyNot prefers a fault to the cancelled wait that it caused.
func (b *broker) whyNot(err error) error {
	if err == nil || b.ctx.Err() != nil {
		return nil
	}
	select {
	case fault := <-b.faults:
		return fault
	default:
		return err
	}
}
