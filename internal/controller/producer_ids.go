package controller

import (
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// producerIDBlockLen is how many producer ids a broker gets at a time.
const producerIDBlockLen = 1000

func (c *Controller) allocateProducerIDs(in Input, req *kmsg.AllocateProducerIDsRequest) Result {
	resp := kmsg.NewPtrAllocateProducerIDsResponse()
	resp.Version = req.Version
	if _, err := checkBrokerEpoch(in.Image, req.BrokerID, req.BrokerEpoch); err != nil {
		resp.ErrorCode = int16(kafka.CodeOf(err))
		return Result{Response: resp}
	}
	first := in.Image.NextProducerID()
	if first > math.MaxInt64-producerIDBlockLen {
		resp.ErrorCode = int16(kafka.ErrUnknownServerError) // 9·10^18 ids are used up
		return Result{Response: resp}
	}
	resp.ProducerIDStart, resp.ProducerIDLen = first, producerIDBlockLen
	return Result{Response: resp, Records: []metadata.Record{&metadata.ProducerIDsRecord{
		BrokerID: req.BrokerID, BrokerEpoch: req.BrokerEpoch, NextProducerID: first + producerIDBlockLen}}}
}
