package coordinator

import "github.com/moldau/moldau/internal/kafka"

// coordinatorCode turns an error of the log into one that clients of a coordinator understand:
// they look for the coordinator again or retry, as with Kafka.
func coordinatorCode(err error) kafka.ErrorCode {
	switch code := kafka.CodeOf(err); code {
	case kafka.ErrNotLeaderOrFollower, kafka.ErrFencedLeaderEpoch, kafka.ErrUnknownLeaderEpoch, kafka.ErrKafkaStorageError:
		return kafka.ErrNotCoordinator
	case kafka.ErrUnknownTopicOrPartition, kafka.ErrNotEnoughReplicas, kafka.ErrNotEnoughReplicasAfterAppend, kafka.ErrRequestTimedOut:
		return kafka.ErrCoordinatorNotAvailable
	case kafka.ErrMessageTooLarge, kafka.ErrRecordListTooLarge, kafka.ErrInvalidFetchSize:
		return kafka.ErrUnknownServerError
	default:
		return code
	}
}

// isNotLeader reports whether err says that the partition is led elsewhere.
func isNotLeader(err error) bool {
	switch kafka.CodeOf(err) {
	case kafka.ErrNotLeaderOrFollower, kafka.ErrFencedLeaderEpoch, kafka.ErrUnknownLeaderEpoch, kafka.ErrUnknownTopicOrPartition:
		return true
	}
	return false
}
