package wire

import "github.com/twmb/franz-go/pkg/kmsg"

// eachError calls yield with the error codes of a response that are not zero. The server counts
// them by API; it is a table by type because kmsg has no common way to ask.
func eachError(response kmsg.Response, yield func(code int16)) {
	if eachGroupError(response, yield) || eachPeerError(response, yield) {
		return
	}
	switch r := response.(type) {
	case *kmsg.ListOffsetsResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				yieldError(r.Topics[i].Partitions[j].ErrorCode, yield)
			}
		}
	case *kmsg.OffsetForLeaderEpochResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				yieldError(r.Topics[i].Partitions[j].ErrorCode, yield)
			}
		}
	case *kmsg.MetadataResponse:
		yieldError(r.ErrorCode, yield)
		for i := range r.Topics {
			yieldError(r.Topics[i].ErrorCode, yield)
		}
	case *kmsg.DescribeTopicPartitionsResponse:
		for i := range r.Topics {
			yieldError(r.Topics[i].ErrorCode, yield)
		}
	case *kmsg.CreateTopicsResponse:
		for i := range r.Topics {
			yieldError(r.Topics[i].ErrorCode, yield)
		}
	case *kmsg.DeleteTopicsResponse:
		for i := range r.Topics {
			yieldError(r.Topics[i].ErrorCode, yield)
		}
	case *kmsg.CreatePartitionsResponse:
		for i := range r.Topics {
			yieldError(r.Topics[i].ErrorCode, yield)
		}
	case *kmsg.DescribeConfigsResponse:
		for i := range r.Resources {
			yieldError(r.Resources[i].ErrorCode, yield)
		}
	case *kmsg.AlterConfigsResponse:
		for i := range r.Resources {
			yieldError(r.Resources[i].ErrorCode, yield)
		}
	case *kmsg.IncrementalAlterConfigsResponse:
		for i := range r.Resources {
			yieldError(r.Resources[i].ErrorCode, yield)
		}
	case *kmsg.ElectLeadersResponse:
		yieldError(r.ErrorCode, yield)
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				yieldError(r.Topics[i].Partitions[j].ErrorCode, yield)
			}
		}
	case *kmsg.AlterPartitionAssignmentsResponse:
		yieldError(r.ErrorCode, yield)
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				yieldError(r.Topics[i].Partitions[j].ErrorCode, yield)
			}
		}
	case *kmsg.DescribeClientQuotasResponse:
		yieldError(r.ErrorCode, yield)
	case *kmsg.AlterClientQuotasResponse:
		for i := range r.Entries {
			yieldError(r.Entries[i].ErrorCode, yield)
		}
	case *kmsg.UpdateFeaturesResponse:
		yieldError(r.ErrorCode, yield)
	case *kmsg.ApiVersionsResponse:
		yieldError(r.ErrorCode, yield)
	case *kmsg.DescribeClusterResponse:
		yieldError(r.ErrorCode, yield)
	case *kmsg.InitProducerIDResponse:
		yieldError(r.ErrorCode, yield)
	}
}

// eachGroupError does the same for the group APIs and reports whether response is one.
func eachGroupError(response kmsg.Response, yield func(code int16)) bool {
	switch r := response.(type) {
	case *kmsg.OffsetCommitResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				yieldError(r.Topics[i].Partitions[j].ErrorCode, yield)
			}
		}
	case *kmsg.OffsetFetchResponse:
		yieldError(r.ErrorCode, yield)
		for i := range r.Groups {
			yieldError(r.Groups[i].ErrorCode, yield)
		}
	case *kmsg.FindCoordinatorResponse:
		yieldError(r.ErrorCode, yield)
		for i := range r.Coordinators {
			yieldError(r.Coordinators[i].ErrorCode, yield)
		}
	case *kmsg.JoinGroupResponse:
		yieldError(r.ErrorCode, yield)
	case *kmsg.HeartbeatResponse:
		yieldError(r.ErrorCode, yield)
	case *kmsg.LeaveGroupResponse:
		yieldError(r.ErrorCode, yield)
	case *kmsg.SyncGroupResponse:
		yieldError(r.ErrorCode, yield)
	case *kmsg.DescribeGroupsResponse:
		for i := range r.Groups {
			yieldError(r.Groups[i].ErrorCode, yield)
		}
	case *kmsg.ListGroupsResponse:
		yieldError(r.ErrorCode, yield)
	case *kmsg.DeleteGroupsResponse:
		for i := range r.Groups {
			yieldError(r.Groups[i].ErrorCode, yield)
		}
	case *kmsg.OffsetDeleteResponse:
		yieldError(r.ErrorCode, yield)
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				yieldError(r.Topics[i].Partitions[j].ErrorCode, yield)
			}
		}
	default:
		return false
	}
	return true
}
