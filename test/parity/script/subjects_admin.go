package script

import (
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func adminSubjects() []subject {
	return slices.Concat(accessSubjects(), clusterSubjects(), []subject{
		{key: 18, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrApiVersionsRequest()
			r.ClientSoftwareName, r.ClientSoftwareVersion = "parity", "1.0"
			return r
		}},
		{key: 34, build: func(s *Session) kmsg.Request {
			r := kmsg.NewPtrAlterReplicaLogDirsRequest()
			r.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: s.broker.logDir, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: fixedTopic, Partitions: []int32{0}}}}}
			return r
		}},
		{key: 35, mineOnly: true, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrDescribeLogDirsRequest()
			r.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: fixedTopic, Partitions: []int32{0, 1}}}
			return r
		}},
	})
}

func accessSubjects() []subject {
	return []subject{
		{key: 29, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrDescribeACLsRequest()
			r.ResourceType, r.ResourcePatternType, r.Operation, r.PermissionType = 1, 1, 1, 1
			return r
		}},
		{key: 30, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrCreateACLsRequest()
			r.Creations = []kmsg.CreateACLsRequestCreation{{ResourceType: 2, ResourceName: fixedTopic, ResourcePatternType: 3, Principal: "User:one", Host: "*", Operation: 3, PermissionType: 3}}
			return r
		}},
		{key: 31, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrDeleteACLsRequest()
			r.Filters = []kmsg.DeleteACLsRequestFilter{{ResourceType: 2, ResourceName: ptr(fixedTopic), ResourcePatternType: 3, Principal: ptr("User:one"), Host: ptr("*"), Operation: 3, PermissionType: 3}}
			return r
		}},
		{key: 50, build: func(s *Session) kmsg.Request {
			r := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
			r.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{{Name: s.own + "user"}}
			return r
		}},
		{key: 51, build: func(s *Session) kmsg.Request {
			r := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
			r.Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: s.own + "user", Mechanism: 1}}
			r.Upsertions = []kmsg.AlterUserSCRAMCredentialsRequestUpsertion{{Name: s.own + "other", Mechanism: 2, Iterations: 8192, Salt: []byte("salt"), SaltedPassword: []byte("password")}}
			return r
		}},
	}
}

func clusterSubjects() []subject {
	return []subject{
		{
			key: 43, mineOnly: true, values: map[string][]value{"TimeoutMillis": waits}, build: func(*Session) kmsg.Request {
				r := kmsg.NewPtrElectLeadersRequest()
				r.TimeoutMillis, r.Topics = 30_000, []kmsg.ElectLeadersRequestTopic{{Topic: fixedTopic, Partitions: []int32{0}}}
				return r
			},
			forms: []form{shape("two partitions", true, 0, func(_ *Session, r *kmsg.ElectLeadersRequest) { r.Topics[0].Partitions = []int32{0, 1, 9} })},
		},
		{
			key: 45, values: map[string][]value{"TimeoutMillis": waits}, build: func(*Session) kmsg.Request { return reassign([]int32{1}) },
			forms: []form{
				reassigned("two brokers", 1, 2), reassigned("unknown broker", 7), reassigned("negative broker", -1), reassigned("broker twice", 1, 1),
				shape("cancelled", false, 0, func(_ *Session, r *kmsg.AlterPartitionAssignmentsRequest) { r.Topics[0].Partitions[0].Replicas = nil }),
			},
		},
		{key: 46, values: map[string][]value{"TimeoutMillis": waits}, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrListPartitionReassignmentsRequest()
			r.TimeoutMillis, r.Topics = 30_000, []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: fixedTopic, Partitions: []int32{0}}}
			return r
		}},
		{key: 55, unlike: []string{"HighWatermark", "LogEndOffset", "LeaderEpoch", "LastFetchTimestamp", "LastCaughtUpTimestamp"}, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrDescribeQuorumRequest()
			r.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
			return r
		}},
		{key: 57, values: map[string][]value{"TimeoutMillis": waits}, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrUpdateFeaturesRequest()
			r.TimeoutMillis = 30_000
			r.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "transaction.version", MaxVersionLevel: 2, UpgradeType: 1}}
			return r
		}},
		{key: 64, values: map[string][]value{"BrokerID": constants(int32(-2), int32(-1), int32(0), int32(7), int32(math.MaxInt32), int32(math.MinInt32))}, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrUnregisterBrokerRequest()
			r.BrokerID = 77 // the one that there is must stay
			return r
		}},
		{key: 60, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrDescribeClusterRequest()
			r.EndpointType = 1
			return r
		}},
		// Another id would have the controller look for that node, one request at a time. An empty name of a
		// listener ends Apache Kafka's process.
		{key: 80, values: map[string][]value{"TimeoutMillis": waits, "VoterID": constants(int32(-1), int32(math.MinInt32)), "Name": strange[1:], "Host": strange[1:]}, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrAddRaftVoterRequest()
			r.VoterID, r.VoterDirectoryID = 1, [16]byte{0: 1, 15: 7}
			r.Listeners = []kmsg.AddRaftVoterRequestListener{{Name: "CONTROLLER", Host: "localhost", Port: 9}}
			return r
		}},
		{key: 81, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrRemoveRaftVoterRequest()
			r.VoterID, r.VoterDirectoryID = 1, [16]byte{0: 1, 15: 7}
			return r
		}},
	}
}

func reassign(replicas []int32) *kmsg.AlterPartitionAssignmentsRequest {
	r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	r.TimeoutMillis, r.AllowReplicationFactorChange = 30_000, true
	r.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: fixedTopic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Replicas: replicas}}}}
	return r
}

func reassigned(name string, replicas ...int32) form {
	return shape(name, false, 0, func(_ *Session, r *kmsg.AlterPartitionAssignmentsRequest) {
		r.Topics[0].Partitions[0].Replicas = replicas
	})
}
