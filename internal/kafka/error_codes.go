package kafka

// The error codes of Apache Kafka 4.3 (clients, Errors). A code is an error value, so
// code inside the broker returns it directly or wraps it with %w.
const (
	ErrUnknownServerError                 ErrorCode = -1  // UNKNOWN_SERVER_ERROR
	ErrNone                               ErrorCode = 0   // NONE
	ErrOffsetOutOfRange                   ErrorCode = 1   // OFFSET_OUT_OF_RANGE
	ErrCorruptMessage                     ErrorCode = 2   // CORRUPT_MESSAGE
	ErrUnknownTopicOrPartition            ErrorCode = 3   // UNKNOWN_TOPIC_OR_PARTITION
	ErrInvalidFetchSize                   ErrorCode = 4   // INVALID_FETCH_SIZE
	ErrLeaderNotAvailable                 ErrorCode = 5   // LEADER_NOT_AVAILABLE
	ErrNotLeaderOrFollower                ErrorCode = 6   // NOT_LEADER_OR_FOLLOWER
	ErrRequestTimedOut                    ErrorCode = 7   // REQUEST_TIMED_OUT
	ErrBrokerNotAvailable                 ErrorCode = 8   // BROKER_NOT_AVAILABLE
	ErrReplicaNotAvailable                ErrorCode = 9   // REPLICA_NOT_AVAILABLE
	ErrMessageTooLarge                    ErrorCode = 10  // MESSAGE_TOO_LARGE
	ErrStaleControllerEpoch               ErrorCode = 11  // STALE_CONTROLLER_EPOCH
	ErrOffsetMetadataTooLarge             ErrorCode = 12  // OFFSET_METADATA_TOO_LARGE
	ErrNetworkException                   ErrorCode = 13  // NETWORK_EXCEPTION
	ErrCoordinatorLoadInProgress          ErrorCode = 14  // COORDINATOR_LOAD_IN_PROGRESS
	ErrCoordinatorNotAvailable            ErrorCode = 15  // COORDINATOR_NOT_AVAILABLE
	ErrNotCoordinator                     ErrorCode = 16  // NOT_COORDINATOR
	ErrInvalidTopicException              ErrorCode = 17  // INVALID_TOPIC_EXCEPTION
	ErrRecordListTooLarge                 ErrorCode = 18  // RECORD_LIST_TOO_LARGE
	ErrNotEnoughReplicas                  ErrorCode = 19  // NOT_ENOUGH_REPLICAS
	ErrNotEnoughReplicasAfterAppend       ErrorCode = 20  // NOT_ENOUGH_REPLICAS_AFTER_APPEND
	ErrInvalidRequiredAcks                ErrorCode = 21  // INVALID_REQUIRED_ACKS
	ErrIllegalGeneration                  ErrorCode = 22  // ILLEGAL_GENERATION
	ErrInconsistentGroupProtocol          ErrorCode = 23  // INCONSISTENT_GROUP_PROTOCOL
	ErrInvalidGroupID                     ErrorCode = 24  // INVALID_GROUP_ID
	ErrUnknownMemberID                    ErrorCode = 25  // UNKNOWN_MEMBER_ID
	ErrInvalidSessionTimeout              ErrorCode = 26  // INVALID_SESSION_TIMEOUT
	ErrRebalanceInProgress                ErrorCode = 27  // REBALANCE_IN_PROGRESS
	ErrInvalidCommitOffsetSize            ErrorCode = 28  // INVALID_COMMIT_OFFSET_SIZE
	ErrTopicAuthorizationFailed           ErrorCode = 29  // TOPIC_AUTHORIZATION_FAILED
	ErrGroupAuthorizationFailed           ErrorCode = 30  // GROUP_AUTHORIZATION_FAILED
	ErrClusterAuthorizationFailed         ErrorCode = 31  // CLUSTER_AUTHORIZATION_FAILED
	ErrInvalidTimestamp                   ErrorCode = 32  // INVALID_TIMESTAMP
	ErrUnsupportedSASLMechanism           ErrorCode = 33  // UNSUPPORTED_SASL_MECHANISM
	ErrIllegalSASLState                   ErrorCode = 34  // ILLEGAL_SASL_STATE
	ErrUnsupportedVersion                 ErrorCode = 35  // UNSUPPORTED_VERSION
	ErrTopicAlreadyExists                 ErrorCode = 36  // TOPIC_ALREADY_EXISTS
	ErrInvalidPartitions                  ErrorCode = 37  // INVALID_PARTITIONS
	ErrInvalidReplicationFactor           ErrorCode = 38  // INVALID_REPLICATION_FACTOR
	ErrInvalidReplicaAssignment           ErrorCode = 39  // INVALID_REPLICA_ASSIGNMENT
	ErrInvalidConfig                      ErrorCode = 40  // INVALID_CONFIG
	ErrNotController                      ErrorCode = 41  // NOT_CONTROLLER
	ErrInvalidRequest                     ErrorCode = 42  // INVALID_REQUEST
	ErrUnsupportedForMessageFormat        ErrorCode = 43  // UNSUPPORTED_FOR_MESSAGE_FORMAT
	ErrPolicyViolation                    ErrorCode = 44  // POLICY_VIOLATION
	ErrOutOfOrderSequenceNumber           ErrorCode = 45  // OUT_OF_ORDER_SEQUENCE_NUMBER
	ErrDuplicateSequenceNumber            ErrorCode = 46  // DUPLICATE_SEQUENCE_NUMBER
	ErrInvalidProducerEpoch               ErrorCode = 47  // INVALID_PRODUCER_EPOCH
	ErrInvalidTxnState                    ErrorCode = 48  // INVALID_TXN_STATE
	ErrInvalidProducerIDMapping           ErrorCode = 49  // INVALID_PRODUCER_ID_MAPPING
	ErrInvalidTransactionTimeout          ErrorCode = 50  // INVALID_TRANSACTION_TIMEOUT
	ErrConcurrentTransactions             ErrorCode = 51  // CONCURRENT_TRANSACTIONS
	ErrTransactionCoordinatorFenced       ErrorCode = 52  // TRANSACTION_COORDINATOR_FENCED
	ErrTransactionalIDAuthorizationFailed ErrorCode = 53  // TRANSACTIONAL_ID_AUTHORIZATION_FAILED
	ErrSecurityDisabled                   ErrorCode = 54  // SECURITY_DISABLED
	ErrOperationNotAttempted              ErrorCode = 55  // OPERATION_NOT_ATTEMPTED
	ErrKafkaStorageError                  ErrorCode = 56  // KAFKA_STORAGE_ERROR
	ErrLogDirNotFound                     ErrorCode = 57  // LOG_DIR_NOT_FOUND
	ErrSASLAuthenticationFailed           ErrorCode = 58  // SASL_AUTHENTICATION_FAILED
	ErrUnknownProducerID                  ErrorCode = 59  // UNKNOWN_PRODUCER_ID
	ErrReassignmentInProgress             ErrorCode = 60  // REASSIGNMENT_IN_PROGRESS
	ErrDelegationTokenAuthDisabled        ErrorCode = 61  // DELEGATION_TOKEN_AUTH_DISABLED
	ErrDelegationTokenNotFound            ErrorCode = 62  // DELEGATION_TOKEN_NOT_FOUND
	ErrDelegationTokenOwnerMismatch       ErrorCode = 63  // DELEGATION_TOKEN_OWNER_MISMATCH
	ErrDelegationTokenRequestNotAllowed   ErrorCode = 64  // DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
	ErrDelegationTokenAuthorizationFailed ErrorCode = 65  // DELEGATION_TOKEN_AUTHORIZATION_FAILED
	ErrDelegationTokenExpired             ErrorCode = 66  // DELEGATION_TOKEN_EXPIRED
	ErrInvalidPrincipalType               ErrorCode = 67  // INVALID_PRINCIPAL_TYPE
	ErrNonEmptyGroup                      ErrorCode = 68  // NON_EMPTY_GROUP
	ErrGroupIDNotFound                    ErrorCode = 69  // GROUP_ID_NOT_FOUND
	ErrFetchSessionIDNotFound             ErrorCode = 70  // FETCH_SESSION_ID_NOT_FOUND
	ErrInvalidFetchSessionEpoch           ErrorCode = 71  // INVALID_FETCH_SESSION_EPOCH
	ErrListenerNotFound                   ErrorCode = 72  // LISTENER_NOT_FOUND
	ErrTopicDeletionDisabled              ErrorCode = 73  // TOPIC_DELETION_DISABLED
	ErrFencedLeaderEpoch                  ErrorCode = 74  // FENCED_LEADER_EPOCH
	ErrUnknownLeaderEpoch                 ErrorCode = 75  // UNKNOWN_LEADER_EPOCH
	ErrUnsupportedCompressionType         ErrorCode = 76  // UNSUPPORTED_COMPRESSION_TYPE
	ErrStaleBrokerEpoch                   ErrorCode = 77  // STALE_BROKER_EPOCH
	ErrOffsetNotAvailable                 ErrorCode = 78  // OFFSET_NOT_AVAILABLE
	ErrMemberIDRequired                   ErrorCode = 79  // MEMBER_ID_REQUIRED
	ErrPreferredLeaderNotAvailable        ErrorCode = 80  // PREFERRED_LEADER_NOT_AVAILABLE
	ErrGroupMaxSizeReached                ErrorCode = 81  // GROUP_MAX_SIZE_REACHED
	ErrFencedInstanceID                   ErrorCode = 82  // FENCED_INSTANCE_ID
	ErrEligibleLeadersNotAvailable        ErrorCode = 83  // ELIGIBLE_LEADERS_NOT_AVAILABLE
	ErrElectionNotNeeded                  ErrorCode = 84  // ELECTION_NOT_NEEDED
	ErrNoReassignmentInProgress           ErrorCode = 85  // NO_REASSIGNMENT_IN_PROGRESS
	ErrGroupSubscribedToTopic             ErrorCode = 86  // GROUP_SUBSCRIBED_TO_TOPIC
	ErrInvalidRecord                      ErrorCode = 87  // INVALID_RECORD
	ErrUnstableOffsetCommit               ErrorCode = 88  // UNSTABLE_OFFSET_COMMIT
	ErrThrottlingQuotaExceeded            ErrorCode = 89  // THROTTLING_QUOTA_EXCEEDED
	ErrProducerFenced                     ErrorCode = 90  // PRODUCER_FENCED
	ErrResourceNotFound                   ErrorCode = 91  // RESOURCE_NOT_FOUND
	ErrDuplicateResource                  ErrorCode = 92  // DUPLICATE_RESOURCE
	ErrUnacceptableCredential             ErrorCode = 93  // UNACCEPTABLE_CREDENTIAL
	ErrInconsistentVoterSet               ErrorCode = 94  // INCONSISTENT_VOTER_SET
	ErrInvalidUpdateVersion               ErrorCode = 95  // INVALID_UPDATE_VERSION
	ErrFeatureUpdateFailed                ErrorCode = 96  // FEATURE_UPDATE_FAILED
	ErrPrincipalDeserializationFailure    ErrorCode = 97  // PRINCIPAL_DESERIALIZATION_FAILURE
	ErrSnapshotNotFound                   ErrorCode = 98  // SNAPSHOT_NOT_FOUND
	ErrPositionOutOfRange                 ErrorCode = 99  // POSITION_OUT_OF_RANGE
	ErrUnknownTopicID                     ErrorCode = 100 // UNKNOWN_TOPIC_ID
	ErrDuplicateBrokerRegistration        ErrorCode = 101 // DUPLICATE_BROKER_REGISTRATION
	ErrBrokerIDNotRegistered              ErrorCode = 102 // BROKER_ID_NOT_REGISTERED
	ErrInconsistentTopicID                ErrorCode = 103 // INCONSISTENT_TOPIC_ID
	ErrInconsistentClusterID              ErrorCode = 104 // INCONSISTENT_CLUSTER_ID
	ErrTransactionalIDNotFound            ErrorCode = 105 // TRANSACTIONAL_ID_NOT_FOUND
	ErrFetchSessionTopicIDError           ErrorCode = 106 // FETCH_SESSION_TOPIC_ID_ERROR
	ErrIneligibleReplica                  ErrorCode = 107 // INELIGIBLE_REPLICA
	ErrNewLeaderElected                   ErrorCode = 108 // NEW_LEADER_ELECTED
	ErrOffsetMovedToTieredStorage         ErrorCode = 109 // OFFSET_MOVED_TO_TIERED_STORAGE
	ErrFencedMemberEpoch                  ErrorCode = 110 // FENCED_MEMBER_EPOCH
	ErrUnreleasedInstanceID               ErrorCode = 111 // UNRELEASED_INSTANCE_ID
	ErrUnsupportedAssignor                ErrorCode = 112 // UNSUPPORTED_ASSIGNOR
	ErrStaleMemberEpoch                   ErrorCode = 113 // STALE_MEMBER_EPOCH
	ErrMismatchedEndpointType             ErrorCode = 114 // MISMATCHED_ENDPOINT_TYPE
	ErrUnsupportedEndpointType            ErrorCode = 115 // UNSUPPORTED_ENDPOINT_TYPE
	ErrUnknownControllerID                ErrorCode = 116 // UNKNOWN_CONTROLLER_ID
	ErrUnknownSubscriptionID              ErrorCode = 117 // UNKNOWN_SUBSCRIPTION_ID
	ErrTelemetryTooLarge                  ErrorCode = 118 // TELEMETRY_TOO_LARGE
	ErrInvalidRegistration                ErrorCode = 119 // INVALID_REGISTRATION
	ErrTransactionAbortable               ErrorCode = 120 // TRANSACTION_ABORTABLE
	ErrInvalidRecordState                 ErrorCode = 121 // INVALID_RECORD_STATE
	ErrShareSessionNotFound               ErrorCode = 122 // SHARE_SESSION_NOT_FOUND
	ErrInvalidShareSessionEpoch           ErrorCode = 123 // INVALID_SHARE_SESSION_EPOCH
	ErrFencedStateEpoch                   ErrorCode = 124 // FENCED_STATE_EPOCH
	ErrInvalidVoterKey                    ErrorCode = 125 // INVALID_VOTER_KEY
	ErrDuplicateVoter                     ErrorCode = 126 // DUPLICATE_VOTER
	ErrVoterNotFound                      ErrorCode = 127 // VOTER_NOT_FOUND
	ErrInvalidRegularExpression           ErrorCode = 128 // INVALID_REGULAR_EXPRESSION
	ErrRebootstrapRequired                ErrorCode = 129 // REBOOTSTRAP_REQUIRED
	ErrStreamsInvalidTopology             ErrorCode = 130 // STREAMS_INVALID_TOPOLOGY
	ErrStreamsInvalidTopologyEpoch        ErrorCode = 131 // STREAMS_INVALID_TOPOLOGY_EPOCH
	ErrStreamsTopologyFenced              ErrorCode = 132 // STREAMS_TOPOLOGY_FENCED
	ErrShareSessionLimitReached           ErrorCode = 133 // SHARE_SESSION_LIMIT_REACHED
)

var errorNames = map[ErrorCode]string{
	ErrUnknownServerError:                 "UNKNOWN_SERVER_ERROR",
	ErrNone:                               "NONE",
	ErrOffsetOutOfRange:                   "OFFSET_OUT_OF_RANGE",
	ErrCorruptMessage:                     "CORRUPT_MESSAGE",
	ErrUnknownTopicOrPartition:            "UNKNOWN_TOPIC_OR_PARTITION",
	ErrInvalidFetchSize:                   "INVALID_FETCH_SIZE",
	ErrLeaderNotAvailable:                 "LEADER_NOT_AVAILABLE",
	ErrNotLeaderOrFollower:                "NOT_LEADER_OR_FOLLOWER",
	ErrRequestTimedOut:                    "REQUEST_TIMED_OUT",
	ErrBrokerNotAvailable:                 "BROKER_NOT_AVAILABLE",
	ErrReplicaNotAvailable:                "REPLICA_NOT_AVAILABLE",
	ErrMessageTooLarge:                    "MESSAGE_TOO_LARGE",
	ErrStaleControllerEpoch:               "STALE_CONTROLLER_EPOCH",
	ErrOffsetMetadataTooLarge:             "OFFSET_METADATA_TOO_LARGE",
	ErrNetworkException:                   "NETWORK_EXCEPTION",
	ErrCoordinatorLoadInProgress:          "COORDINATOR_LOAD_IN_PROGRESS",
	ErrCoordinatorNotAvailable:            "COORDINATOR_NOT_AVAILABLE",
	ErrNotCoordinator:                     "NOT_COORDINATOR",
	ErrInvalidTopicException:              "INVALID_TOPIC_EXCEPTION",
	ErrRecordListTooLarge:                 "RECORD_LIST_TOO_LARGE",
	ErrNotEnoughReplicas:                  "NOT_ENOUGH_REPLICAS",
	ErrNotEnoughReplicasAfterAppend:       "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
	ErrInvalidRequiredAcks:                "INVALID_REQUIRED_ACKS",
	ErrIllegalGeneration:                  "ILLEGAL_GENERATION",
	ErrInconsistentGroupProtocol:          "INCONSISTENT_GROUP_PROTOCOL",
	ErrInvalidGroupID:                     "INVALID_GROUP_ID",
	ErrUnknownMemberID:                    "UNKNOWN_MEMBER_ID",
	ErrInvalidSessionTimeout:              "INVALID_SESSION_TIMEOUT",
	ErrRebalanceInProgress:                "REBALANCE_IN_PROGRESS",
	ErrInvalidCommitOffsetSize:            "INVALID_COMMIT_OFFSET_SIZE",
	ErrTopicAuthorizationFailed:           "TOPIC_AUTHORIZATION_FAILED",
	ErrGroupAuthorizationFailed:           "GROUP_AUTHORIZATION_FAILED",
	ErrClusterAuthorizationFailed:         "CLUSTER_AUTHORIZATION_FAILED",
	ErrInvalidTimestamp:                   "INVALID_TIMESTAMP",
	ErrUnsupportedSASLMechanism:           "UNSUPPORTED_SASL_MECHANISM",
	ErrIllegalSASLState:                   "ILLEGAL_SASL_STATE",
	ErrUnsupportedVersion:                 "UNSUPPORTED_VERSION",
	ErrTopicAlreadyExists:                 "TOPIC_ALREADY_EXISTS",
	ErrInvalidPartitions:                  "INVALID_PARTITIONS",
	ErrInvalidReplicationFactor:           "INVALID_REPLICATION_FACTOR",
	ErrInvalidReplicaAssignment:           "INVALID_REPLICA_ASSIGNMENT",
	ErrInvalidConfig:                      "INVALID_CONFIG",
	ErrNotController:                      "NOT_CONTROLLER",
	ErrInvalidRequest:                     "INVALID_REQUEST",
	ErrUnsupportedForMessageFormat:        "UNSUPPORTED_FOR_MESSAGE_FORMAT",
	ErrPolicyViolation:                    "POLICY_VIOLATION",
	ErrOutOfOrderSequenceNumber:           "OUT_OF_ORDER_SEQUENCE_NUMBER",
	ErrDuplicateSequenceNumber:            "DUPLICATE_SEQUENCE_NUMBER",
	ErrInvalidProducerEpoch:               "INVALID_PRODUCER_EPOCH",
	ErrInvalidTxnState:                    "INVALID_TXN_STATE",
	ErrInvalidProducerIDMapping:           "INVALID_PRODUCER_ID_MAPPING",
	ErrInvalidTransactionTimeout:          "INVALID_TRANSACTION_TIMEOUT",
	ErrConcurrentTransactions:             "CONCURRENT_TRANSACTIONS",
	ErrTransactionCoordinatorFenced:       "TRANSACTION_COORDINATOR_FENCED",
	ErrTransactionalIDAuthorizationFailed: "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
	ErrSecurityDisabled:                   "SECURITY_DISABLED",
	ErrOperationNotAttempted:              "OPERATION_NOT_ATTEMPTED",
	ErrKafkaStorageError:                  "KAFKA_STORAGE_ERROR",
	ErrLogDirNotFound:                     "LOG_DIR_NOT_FOUND",
	ErrSASLAuthenticationFailed:           "SASL_AUTHENTICATION_FAILED",
	ErrUnknownProducerID:                  "UNKNOWN_PRODUCER_ID",
	ErrReassignmentInProgress:             "REASSIGNMENT_IN_PROGRESS",
	ErrDelegationTokenAuthDisabled:        "DELEGATION_TOKEN_AUTH_DISABLED",
	ErrDelegationTokenNotFound:            "DELEGATION_TOKEN_NOT_FOUND",
	ErrDelegationTokenOwnerMismatch:       "DELEGATION_TOKEN_OWNER_MISMATCH",
	ErrDelegationTokenRequestNotAllowed:   "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED",
	ErrDelegationTokenAuthorizationFailed: "DELEGATION_TOKEN_AUTHORIZATION_FAILED",
	ErrDelegationTokenExpired:             "DELEGATION_TOKEN_EXPIRED",
	ErrInvalidPrincipalType:               "INVALID_PRINCIPAL_TYPE",
	ErrNonEmptyGroup:                      "NON_EMPTY_GROUP",
	ErrGroupIDNotFound:                    "GROUP_ID_NOT_FOUND",
	ErrFetchSessionIDNotFound:             "FETCH_SESSION_ID_NOT_FOUND",
	ErrInvalidFetchSessionEpoch:           "INVALID_FETCH_SESSION_EPOCH",
	ErrListenerNotFound:                   "LISTENER_NOT_FOUND",
	ErrTopicDeletionDisabled:              "TOPIC_DELETION_DISABLED",
	ErrFencedLeaderEpoch:                  "FENCED_LEADER_EPOCH",
	ErrUnknownLeaderEpoch:                 "UNKNOWN_LEADER_EPOCH",
	ErrUnsupportedCompressionType:         "UNSUPPORTED_COMPRESSION_TYPE",
	ErrStaleBrokerEpoch:                   "STALE_BROKER_EPOCH",
	ErrOffsetNotAvailable:                 "OFFSET_NOT_AVAILABLE",
	ErrMemberIDRequired:                   "MEMBER_ID_REQUIRED",
	ErrPreferredLeaderNotAvailable:        "PREFERRED_LEADER_NOT_AVAILABLE",
	ErrGroupMaxSizeReached:                "GROUP_MAX_SIZE_REACHED",
	ErrFencedInstanceID:                   "FENCED_INSTANCE_ID",
	ErrEligibleLeadersNotAvailable:        "ELIGIBLE_LEADERS_NOT_AVAILABLE",
	ErrElectionNotNeeded:                  "ELECTION_NOT_NEEDED",
	ErrNoReassignmentInProgress:           "NO_REASSIGNMENT_IN_PROGRESS",
	ErrGroupSubscribedToTopic:             "GROUP_SUBSCRIBED_TO_TOPIC",
	ErrInvalidRecord:                      "INVALID_RECORD",
	ErrUnstableOffsetCommit:               "UNSTABLE_OFFSET_COMMIT",
	ErrThrottlingQuotaExceeded:            "THROTTLING_QUOTA_EXCEEDED",
	ErrProducerFenced:                     "PRODUCER_FENCED",
	ErrResourceNotFound:                   "RESOURCE_NOT_FOUND",
	ErrDuplicateResource:                  "DUPLICATE_RESOURCE",
	ErrUnacceptableCredential:             "UNACCEPTABLE_CREDENTIAL",
	ErrInconsistentVoterSet:               "INCONSISTENT_VOTER_SET",
	ErrInvalidUpdateVersion:               "INVALID_UPDATE_VERSION",
	ErrFeatureUpdateFailed:                "FEATURE_UPDATE_FAILED",
	ErrPrincipalDeserializationFailure:    "PRINCIPAL_DESERIALIZATION_FAILURE",
	ErrSnapshotNotFound:                   "SNAPSHOT_NOT_FOUND",
	ErrPositionOutOfRange:                 "POSITION_OUT_OF_RANGE",
	ErrUnknownTopicID:                     "UNKNOWN_TOPIC_ID",
	ErrDuplicateBrokerRegistration:        "DUPLICATE_BROKER_REGISTRATION",
	ErrBrokerIDNotRegistered:              "BROKER_ID_NOT_REGISTERED",
	ErrInconsistentTopicID:                "INCONSISTENT_TOPIC_ID",
	ErrInconsistentClusterID:              "INCONSISTENT_CLUSTER_ID",
	ErrTransactionalIDNotFound:            "TRANSACTIONAL_ID_NOT_FOUND",
	ErrFetchSessionTopicIDError:           "FETCH_SESSION_TOPIC_ID_ERROR",
	ErrIneligibleReplica:                  "INELIGIBLE_REPLICA",
	ErrNewLeaderElected:                   "NEW_LEADER_ELECTED",
	ErrOffsetMovedToTieredStorage:         "OFFSET_MOVED_TO_TIERED_STORAGE",
	ErrFencedMemberEpoch:                  "FENCED_MEMBER_EPOCH",
	ErrUnreleasedInstanceID:               "UNRELEASED_INSTANCE_ID",
	ErrUnsupportedAssignor:                "UNSUPPORTED_ASSIGNOR",
	ErrStaleMemberEpoch:                   "STALE_MEMBER_EPOCH",
	ErrMismatchedEndpointType:             "MISMATCHED_ENDPOINT_TYPE",
	ErrUnsupportedEndpointType:            "UNSUPPORTED_ENDPOINT_TYPE",
	ErrUnknownControllerID:                "UNKNOWN_CONTROLLER_ID",
	ErrUnknownSubscriptionID:              "UNKNOWN_SUBSCRIPTION_ID",
	ErrTelemetryTooLarge:                  "TELEMETRY_TOO_LARGE",
	ErrInvalidRegistration:                "INVALID_REGISTRATION",
	ErrTransactionAbortable:               "TRANSACTION_ABORTABLE",
	ErrInvalidRecordState:                 "INVALID_RECORD_STATE",
	ErrShareSessionNotFound:               "SHARE_SESSION_NOT_FOUND",
	ErrInvalidShareSessionEpoch:           "INVALID_SHARE_SESSION_EPOCH",
	ErrFencedStateEpoch:                   "FENCED_STATE_EPOCH",
	ErrInvalidVoterKey:                    "INVALID_VOTER_KEY",
	ErrDuplicateVoter:                     "DUPLICATE_VOTER",
	ErrVoterNotFound:                      "VOTER_NOT_FOUND",
	ErrInvalidRegularExpression:           "INVALID_REGULAR_EXPRESSION",
	ErrRebootstrapRequired:                "REBOOTSTRAP_REQUIRED",
	ErrStreamsInvalidTopology:             "STREAMS_INVALID_TOPOLOGY",
	ErrStreamsInvalidTopologyEpoch:        "STREAMS_INVALID_TOPOLOGY_EPOCH",
	ErrStreamsTopologyFenced:              "STREAMS_TOPOLOGY_FENCED",
	ErrShareSessionLimitReached:           "SHARE_SESSION_LIMIT_REACHED",
}
