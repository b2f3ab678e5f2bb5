package broker

import (
	"log/slog"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// publishDynamic has this node follow its dynamic configs, on the loader's goroutine. Those of
// topics' defaults go their own way, through the replicas.
func (b *broker) publishDynamic(image *metadata.Image, delta *metadata.Delta) {
	ofBrokers := func(change metadata.ConfigChange) bool { return change.Resource.Type == kafka.ConfigResourceBroker }
	if !slices.ContainsFunc(delta.ChangedConfigs(), ofBrokers) {
		return
	}
	current, err := b.configs.layers(image).Current()
	if err != nil {
		slog.Error("the dynamic configs of this broker contradict its static ones; it goes on with what it had", "error", err)
		return
	}
	b.current.Store(current)
	b.limitConnections(current)
	b.server.SetConnectionLimits(b.connectionLimits(current)) // who waits to accept looks at both again
	b.signalListeners()
	if b.storage == nil { // of a controller that is no broker
		return
	}
	b.storage.SetCordoned(b.isCordoned)
	b.signalDirs()
	if b.configured.Load() {
		b.storage.SetProducerExpiration(int64(current.ProducerIDExpirationMs))
	}
}

// checkOwnConfigs checks what a request alters of this broker's dynamic configs, in a place: the active controller is
// another node, mostly, and one that is no broker has neither these listeners nor these log dirs.
func (b *broker) checkOwnConfigs(req kmsg.Request, place int) error {
	return controller.CheckOwnConfigs(b.config, b.loader.Current(), req, place)
}

// expireProducers begins to forget idle producers, by what the metadata says of them: before it was
// known, none could be forgotten.
func (b *broker) expireProducers() {
	b.configured.Store(true)
	b.storage.SetProducerExpiration(int64(b.current.Load().ProducerIDExpirationMs))
	b.storage.ExpireProducers(b.clock.Now().UnixMilli())
}

// verifiesTransactions is transaction.partition.verification.enable as it is now.
func (b *broker) verifiesTransactions() bool { return b.current.Load().VerifyTransactionPartitions }

// recoveryThreads is how many logs are handled at a time by num.recovery.threads.per.data.dir.
func recoveryThreads(c *config.Broker) int { return int(c.RecoveryThreadsPerDir) * len(c.LogDirs) }
