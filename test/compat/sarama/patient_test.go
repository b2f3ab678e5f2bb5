package sarama

import (
	"errors"
	"slices"

	"github.com/IBM/sarama"

	"github.com/moldau/moldau/test/compat/expect"
)

// passes says whether an error is one of a node that is restarted, or of another one that does not know of it yet.
func passes(err error) bool {
	return slices.ContainsFunc([]error{sarama.ErrUnknownTopicOrPartition, sarama.ErrLeaderNotAvailable, sarama.ErrNotLeaderForPartition, sarama.ErrReplicaNotAvailable,
		sarama.ErrBrokerNotAvailable, sarama.ErrRequestTimedOut, sarama.ErrOffsetsLoadInProgress, sarama.ErrConsumerCoordinatorNotAvailable, sarama.ErrNotCoordinatorForConsumer,
		sarama.ErrNotController, sarama.ErrFencedLeaderEpoch, sarama.ErrUnknownLeaderEpoch, sarama.ErrOffsetNotAvailable, sarama.ErrOutOfBrokers, sarama.ErrNotConnected,
		sarama.ErrBrokerNotFound, sarama.ErrControllerNotAvailable}, func(passing error) bool { return errors.Is(err, passing) })
}

// patientAdmin repeats, where nodes are restarted, those calls of sarama's administration that sarama does not repeat by itself: with a
// new client, since the one that it has goes on asking the coordinator or controller that it knows.
type patientAdmin struct {
	sarama.ClusterAdmin
	connect func() (sarama.ClusterAdmin, error)
}

func (a *patientAdmin) reconnect() error {
	admin, err := a.connect()
	if err != nil {
		return err
	}
	if a.ClusterAdmin != nil {
		_ = a.Close()
	}
	a.ClusterAdmin = admin
	return nil
}

// again calls until done; an error that is done only says, in a repetition, that the change was made the first time.
func (a *patientAdmin) again(done error, call func() error) error {
	repeated := false
	return expect.Again(passes, func() error {
		if repeated {
			if err := a.reconnect(); err != nil {
				return err
			}
		}
		err := call()
		if repeated && done != nil && errors.Is(err, done) {
			return nil
		}
		repeated = true
		return err
	})
}

func asked[T any](a *patientAdmin, call func() (T, error)) (answer T, err error) {
	err = a.again(nil, func() error {
		answer, err = call()
		return err
	})
	return answer, err
}

func (a *patientAdmin) CreateTopic(topic string, detail *sarama.TopicDetail, validateOnly bool) error {
	return a.again(nil, func() error { return a.ClusterAdmin.CreateTopic(topic, detail, validateOnly) })
}

func (a *patientAdmin) CreatePartitions(topic string, count int32, assignment [][]int32, validateOnly bool) error {
	return a.again(sarama.ErrInvalidPartitions, func() error { return a.ClusterAdmin.CreatePartitions(topic, count, assignment, validateOnly) })
}

func (a *patientAdmin) DeleteTopic(topic string) error {
	return a.again(sarama.ErrUnknownTopicOrPartition, func() error { return a.ClusterAdmin.DeleteTopic(topic) })
}

func (a *patientAdmin) ListTopics() (map[string]sarama.TopicDetail, error) {
	return asked(a, func() (map[string]sarama.TopicDetail, error) { return a.ClusterAdmin.ListTopics() })
}

func (a *patientAdmin) DescribeCluster() (brokers []*sarama.Broker, controllerID int32, err error) {
	err = a.again(nil, func() error {
		brokers, controllerID, err = a.ClusterAdmin.DescribeCluster()
		return err
	})
	return brokers, controllerID, err
}

func (a *patientAdmin) DescribeConfig(resource sarama.ConfigResource) ([]sarama.ConfigEntry, error) {
	return asked(a, func() ([]sarama.ConfigEntry, error) { return a.ClusterAdmin.DescribeConfig(resource) })
}

func (a *patientAdmin) AlterConfig(kind sarama.ConfigResourceType, name string, entries map[string]*string, validateOnly bool) error {
	return a.again(nil, func() error { return a.ClusterAdmin.AlterConfig(kind, name, entries, validateOnly) })
}

func (a *patientAdmin) IncrementalAlterConfig(kind sarama.ConfigResourceType, name string, entries map[string]sarama.IncrementalAlterConfigsEntry, validateOnly bool) error {
	return a.again(nil, func() error { return a.ClusterAdmin.IncrementalAlterConfig(kind, name, entries, validateOnly) })
}

func (a *patientAdmin) DeleteRecords(topic string, offsets map[int32]int64) error {
	return a.again(nil, func() error { return a.ClusterAdmin.DeleteRecords(topic, offsets) })
}

// ListOffsets fails if it does for a partition.
func (a *patientAdmin) ListOffsets(partitions map[string]map[int32]int64, options *sarama.ListOffsetsOptions) (map[string]map[int32]*sarama.OffsetResult, error) {
	return asked(a, func() (map[string]map[int32]*sarama.OffsetResult, error) {
		listed, err := a.ClusterAdmin.ListOffsets(partitions, options)
		for _, offsets := range listed {
			for _, o := range offsets {
				if err == nil && o.Err != nil && !errors.Is(o.Err, sarama.ErrNoError) {
					err = o.Err
				}
			}
		}
		return listed, err
	})
}

func (a *patientAdmin) ListPartitionReassignments(topic string, partitions []int32) (map[string]map[int32]*sarama.PartitionReplicaReassignmentsStatus, error) {
	return asked(a, func() (map[string]map[int32]*sarama.PartitionReplicaReassignmentsStatus, error) {
		return a.ClusterAdmin.ListPartitionReassignments(topic, partitions)
	})
}

func (a *patientAdmin) ElectLeaders(kind sarama.ElectionType, partitions map[string][]int32) (map[string]map[int32]*sarama.PartitionResult, error) {
	return asked(a, func() (map[string]map[int32]*sarama.PartitionResult, error) {
		return a.ClusterAdmin.ElectLeaders(kind, partitions)
	})
}

// DescribeLogDirs fails if a node does not answer. sarama leaves those out that its metadata, minutes old, do not name.
func (a *patientAdmin) DescribeLogDirs(nodes []int32) (map[int32][]sarama.DescribeLogDirsResponseDirMetadata, error) {
	return asked(a, func() (map[int32][]sarama.DescribeLogDirsResponseDirMetadata, error) {
		dirs, err := a.ClusterAdmin.DescribeLogDirs(nodes)
		if err == nil && len(dirs) < len(nodes) {
			err = sarama.ErrBrokerNotFound
		}
		return dirs, err
	})
}

// DescribeConsumerGroups fails if it does for a group.
func (a *patientAdmin) DescribeConsumerGroups(groups []string) ([]*sarama.GroupDescription, error) {
	return asked(a, func() ([]*sarama.GroupDescription, error) {
		described, err := a.ClusterAdmin.DescribeConsumerGroups(groups)
		for _, d := range described {
			if err == nil && !errors.Is(d.Err, sarama.ErrNoError) {
				err = d.Err
			}
		}
		return described, err
	})
}

func (a *patientAdmin) ListConsumerGroups() (map[string]string, error) {
	return asked(a, func() (map[string]string, error) { return a.ClusterAdmin.ListConsumerGroups() })
}

func (a *patientAdmin) Coordinator(group string) (*sarama.Broker, error) {
	return asked(a, func() (*sarama.Broker, error) { return a.ClusterAdmin.Coordinator(group) })
}

// ListConsumerGroupOffsets fails if it does for the group.
func (a *patientAdmin) ListConsumerGroupOffsets(group string, partitions map[string][]int32) (*sarama.OffsetFetchResponse, error) {
	return asked(a, func() (*sarama.OffsetFetchResponse, error) {
		fetched, err := a.ClusterAdmin.ListConsumerGroupOffsets(group, partitions)
		if err == nil && !errors.Is(fetched.Err, sarama.ErrNoError) {
			err = fetched.Err
		}
		return fetched, err
	})
}

func (a *patientAdmin) DeleteConsumerGroupOffset(group, topic string, partition int32) error {
	return a.again(nil, func() error { return a.ClusterAdmin.DeleteConsumerGroupOffset(group, topic, partition) })
}

func (a *patientAdmin) DeleteConsumerGroup(group string) error {
	return a.again(sarama.ErrGroupIDNotFound, func() error { return a.ClusterAdmin.DeleteConsumerGroup(group) })
}

func (a *patientAdmin) RemoveMemberFromConsumerGroup(group string, instances []string) (*sarama.LeaveGroupResponse, error) {
	return asked(a, func() (*sarama.LeaveGroupResponse, error) {
		left, err := a.ClusterAdmin.RemoveMemberFromConsumerGroup(group, instances)
		if err == nil && !errors.Is(left.Err, sarama.ErrNoError) {
			err = left.Err
		}
		return left, err
	})
}
