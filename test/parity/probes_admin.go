package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// adminProbes ask for what only matters in a cluster, or with security, of one node without.
func adminProbes() []probe {
	var all []probe
	for _, more := range [][]probe{aclProbes(), scramProbes(), electionProbes(), reassignmentProbes(), quorumProbes(), featureProbes(), configResourceProbes(), logDirMoveProbes()} {
		all = append(all, more...)
	}
	return all
}

// aclProbes: no authorizer is configured on either side.
func aclProbes() []probe {
	all := each("describe acls", 1, 3, func() kmsg.Request {
		r := kmsg.NewPtrDescribeACLsRequest()
		r.ResourceType, r.ResourcePatternType, r.Operation, r.PermissionType = 1, 1, 1, 1
		return r
	})
	all = append(all, each("create acls", 1, 3, func() kmsg.Request {
		r := kmsg.NewPtrCreateACLsRequest()
		for _, name := range []string{"a", "b"} {
			c := kmsg.NewCreateACLsRequestCreation()
			c.ResourceType, c.ResourceName, c.ResourcePatternType, c.Principal, c.Host, c.Operation, c.PermissionType = 2, name, 3, "User:x", "*", 3, 3
			r.Creations = append(r.Creations, c)
		}
		return r
	})...)
	return append(all, each("delete acls", 1, 3, func() kmsg.Request {
		r := kmsg.NewPtrDeleteACLsRequest()
		f := kmsg.NewDeleteACLsRequestFilter()
		f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType = 1, 1, 1, 1
		r.Filters = append(r.Filters, f, f)
		return r
	})...)
}

func scramProbes() []probe {
	users := func(names ...string) *kmsg.DescribeUserSCRAMCredentialsRequest {
		r := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
		for _, name := range names {
			r.Users = append(r.Users, kmsg.DescribeUserSCRAMCredentialsRequestUser{Name: name})
		}
		return r
	}
	return []probe{{"scram credentials", []step{askOf(0, users()), askOf(0, users("nobody")), askOf(0, users("twice", "twice"))}}}
}

func electionProbes() []probe {
	elect := func(kind int8, topic string, partitions ...int32) *kmsg.ElectLeadersRequest {
		r := kmsg.NewPtrElectLeadersRequest()
		r.ElectionType, r.TimeoutMillis = kind, 10_000
		r.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: topic, Partitions: partitions}}
		return r
	}
	steps := []step{topic("p-elect", 2)}
	for v := int16(0); v <= 2; v++ {
		steps = append(steps, askOf(v, elect(0, "p-elect", 0, 1)), askOf(v, elect(0, "p-elect", 7)), askOf(v, elect(0, "not-there", 0)))
	}
	steps = append(steps, askOf(2, elect(1, "p-elect", 0)), askOf(2, elect(5, "p-elect", 0)), askOf(2, elect(0, "p-elect")))
	return []probe{{"elect leaders", steps}}
}

func reassignmentProbes() []probe {
	alter := func(topic string, partition int32, replicas ...int32) *kmsg.AlterPartitionAssignmentsRequest {
		r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		r.TimeoutMillis = 10_000
		p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		p.Partition, p.Replicas = partition, replicas
		t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
		t.Topic, t.Partitions = topic, append(t.Partitions, p)
		r.Topics = append(r.Topics, t)
		return r
	}
	list := func(topic string, partitions ...int32) *kmsg.ListPartitionReassignmentsRequest {
		r := kmsg.NewPtrListPartitionReassignmentsRequest()
		r.TimeoutMillis = 10_000
		if topic != "" {
			t := kmsg.NewListPartitionReassignmentsRequestTopic()
			t.Topic, t.Partitions = topic, partitions
			r.Topics = append(r.Topics, t)
		}
		return r
	}
	steps := []step{topic("p-move", 2), askOf(0, list("")), askOf(0, list("p-move", 0, 1, 9)), askOf(0, list("not-there", 0))}
	for v := int16(0); v <= 1; v++ {
		steps = append(steps, askOf(v, alter("p-move", 0, 1)), askOf(v, alter("p-move", 0, 1, 1)), askOf(v, alter("p-move", 0, 2)), askOf(v, alter("p-move", 0, -1)),
			askOf(v, alter("p-move", 9, 1)), askOf(v, alter("not-there", 0, 1)), askOf(v, alter("p-move", 0)), askOf(v, emptyReplicas(alter("p-move", 0))))
	}
	twice := alter("p-move", 0, 1)
	twice.Topics[0].Partitions = append(twice.Topics[0].Partitions, twice.Topics[0].Partitions[0])
	twice2 := alter("p-move", 0, 1)
	twice2.Topics = append(twice2.Topics, twice2.Topics[0])
	return []probe{{"reassignments", append(steps, askOf(1, twice), askOf(1, twice2), askOf(9, list("p-move")))}}
}

func emptyReplicas(r *kmsg.AlterPartitionAssignmentsRequest) *kmsg.AlterPartitionAssignmentsRequest {
	r.Topics[0].Partitions[0].Replicas = []int32{}
	return r
}

func quorumProbes() []probe {
	of := func(topic string, partitions ...int32) func() kmsg.Request {
		return func() kmsg.Request {
			r := kmsg.NewPtrDescribeQuorumRequest()
			t := kmsg.NewDescribeQuorumRequestTopic()
			t.Topic = topic
			for _, p := range partitions {
				t.Partitions = append(t.Partitions, kmsg.DescribeQuorumRequestTopicPartition{Partition: p})
			}
			r.Topics = append(r.Topics, t)
			return r
		}
	}
	var all []probe
	for v := int16(0); v <= 2; v++ {
		all = append(all, probe{fmt.Sprintf("describe quorum v%d", v), []step{quorumOf(v, of("__cluster_metadata", 0)())}})
	}
	all = append(all, each("describe quorum of another topic", 2, 2, of("other", 0))...)
	all = append(all, each("describe quorum of another partition", 2, 2, of("__cluster_metadata", 1))...)
	all = append(all, each("describe quorum of two partitions", 2, 2, of("__cluster_metadata", 0, 1))...)
	return append(all, each("describe quorum of nothing", 0, 2, func() kmsg.Request { return kmsg.NewPtrDescribeQuorumRequest() })...)
}

// quorumOf hides how long each side's metadata log is.
func quorumOf(version int16, r kmsg.Request) step {
	return func(_ *broker, c *conn) (string, error) {
		response, err := c.request(r, version)
		if err != nil {
			return "", err
		}
		q := response.(*kmsg.DescribeQuorumResponse)
		if len(q.Topics) != 1 || len(q.Topics[0].Partitions) != 1 || len(q.Topics[0].Partitions[0].CurrentVoters) != 1 {
			return normalise(response), nil
		}
		p := &q.Topics[0].Partitions[0]
		voter := &p.CurrentVoters[0]
		if p.HighWatermark <= 0 || voter.LogEndOffset < p.HighWatermark || p.LeaderEpoch <= 0 {
			return "", fmt.Errorf("high watermark %d, epoch %d, log end offset %d", p.HighWatermark, p.LeaderEpoch, voter.LogEndOffset)
		}
		p.HighWatermark, p.LeaderEpoch, voter.LogEndOffset = 0, 0, 0
		return normalise(response), nil
	}
}

func featureProbes() []probe {
	update := func(name string, level int16, kind int8, validate bool) *kmsg.UpdateFeaturesRequest {
		r := kmsg.NewPtrUpdateFeaturesRequest()
		u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		u.Feature, u.MaxVersionLevel, u.UpgradeType, u.AllowDowngrade = name, level, kind, kind > 1
		r.FeatureUpdates, r.ValidateOnly, r.TimeoutMillis = append(r.FeatureUpdates, u), validate, 10_000
		return r
	}
	var all []probe
	for v := int16(0); v <= 2; v++ {
		steps := []step{}
		for _, validate := range []bool{true, false} {
			steps = append(steps,
				askOf(v, update("transaction.version", 2, 1, validate)), askOf(v, update("transaction.version", 1, 1, validate)),
				askOf(v, update("transaction.version", 9, 1, validate)), askOf(v, update("transaction.version", -1, 1, validate)),
				askOf(v, update("transaction.version", 9, 3, validate)), askOf(v, update("transaction.version", 2, 2, validate)),
				askOf(v, update("nobody.knows", 1, 1, validate)), askOf(v, update("", 1, 1, validate)),
				askOf(v, update("metadata.version", 30, 1, validate)), askOf(v, update("metadata.version", 99, 1, validate)), askOf(v, update("metadata.version", 0, 3, validate)),
				askOf(v, update("metadata.version", 30, 2, validate)), askOf(v, update("transaction.version", 1, 0, validate)), askOf(v, update("transaction.version", 1, 7, validate)),
				askOf(v, update("kraft.version", 9, 1, validate)),
				askOf(v, update("metadata.version", 29, 1, validate)), askOf(v, update("metadata.version", 29, 2, validate)), askOf(v, update("metadata.version", 29, 3, validate)),
				askOf(v, update("metadata.version", 7, 3, validate)), askOf(v, update("eligible.leader.replicas.version", 2, 1, validate)),
				askOf(v, update("eligible.leader.replicas.version", 0, 1, validate)))
		}
		for _, level := range []int16{1, 0, 2} {
			steps = append(steps, askOf(v, update("transaction.version", level, 2, true)), askOf(v, update("transaction.version", level, 3, true)))
		}
		steps = append(steps, askOf(v, update("eligible.leader.replicas.version", 0, 2, false)), askOf(v, update("eligible.leader.replicas.version", 1, 2, false)),
			askOf(v, update("eligible.leader.replicas.version", 1, 1, false)))
		steps = append(steps, askOf(v, update("transaction.version", 1, 3, false)), askOf(v, update("transaction.version", 0, 3, false)), askOf(v, update("transaction.version", 2, 1, false)))
		double := update("transaction.version", 2, 1, true)
		double.FeatureUpdates = append(double.FeatureUpdates, double.FeatureUpdates[0])
		mixed := update("transaction.version", 2, 1, false)
		mixed.FeatureUpdates = append(mixed.FeatureUpdates, update("nobody.knows", 1, 1, false).FeatureUpdates...)
		none := kmsg.NewPtrUpdateFeaturesRequest()
		all = append(all, probe{fmt.Sprintf("update features v%d", v), append(steps, askOf(v, double), askOf(v, mixed), askOf(v, none))})
	}
	return all
}

func configResourceProbes() []probe {
	of := func(types ...int8) *kmsg.ListConfigResourcesRequest {
		r := kmsg.NewPtrListConfigResourcesRequest()
		r.ResourceTypes = types
		return r
	}
	return []probe{{"config resources", []step{askOf(0, of()), askOf(1, of(4)), askOf(1, of(8)), askOf(1, of(16)), askOf(1, of(32)), askOf(1, of(0)), askOf(1, of(1)), askOf(1, of(4, 8)), askOf(1, of(64))}}}
}

// logDirMoveProbes ask for moves of replicas; each side has one log dir.
func logDirMoveProbes() []probe {
	learn := func(b *broker, c *conn) (string, error) {
		response, err := c.request(kmsg.NewPtrDescribeLogDirsRequest(), 4)
		if err != nil {
			return "", err
		}
		dirs := response.(*kmsg.DescribeLogDirsResponse).Dirs
		b.state["dir"] = dirs[0].Dir
		return fmt.Sprintf("%d log dirs\n", len(dirs)), nil
	}
	// move asks to move partitions of topic to dir, or to the present one where dir is "".
	move := func(version int16, dir, topic string, partitions ...int32) step {
		return ask(version, func(b *broker) kmsg.Request {
			r, to := kmsg.NewPtrAlterReplicaLogDirsRequest(), dir
			if to == "" {
				to, _ = b.state["dir"].(string)
			}
			r.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: to, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: topic, Partitions: partitions}}}}
			return r
		})
	}
	steps := []step{topic("p-dirs", 2), learn}
	for v := int16(1); v <= 2; v++ {
		steps = append(steps, move(v, "", "p-dirs", 0, 1), move(v, "/not/there", "p-dirs", 0), move(v, "not/absolute", "p-dirs", 0), move(v, "", "p-dirs", 7), move(v, "", "not-there", 0), move(v, "/not/there", "not-there", 0),
			move(v, "", "p-dirs"), ask(v, func(*broker) kmsg.Request { return kmsg.NewPtrAlterReplicaLogDirsRequest() }))
	}
	return []probe{{"move log dirs", steps}}
}
