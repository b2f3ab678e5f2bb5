package record

import (
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/kafka"
)

// maxRecordErrors bounds the list of record errors of one batch: a hostile batch of a
// million bad records must not become an answer of a hundred megabytes.
const maxRecordErrors = 1000

// ProduceVersionZstd is the first Produce version whose clients know zstd (KIP-110).
const ProduceVersionZstd = 7

// ValidateOptions are the rules of one topic for batches that clients produce.
type ValidateOptions struct {
	ProduceVersion       int16 // of the request; zstd needs 7
	MaxBatchBytes        int   // max.message.bytes
	CompactedTopic       bool  // every record needs a key
	LogAppendTime        bool  // message.timestamp.type: producers' timestamps do not matter
	NowMs                int64
	TimestampBeforeMaxMs int64 // message.timestamp.before.max.ms
	TimestampAfterMaxMs  int64 // message.timestamp.after.max.ms
}

// ValidateResult is what the walk over the records found.
type ValidateResult struct {
	MaxTimestamp      int64 // largest timestamp of the records, kafka.NoTimestamp if none has one
	MaxTimestampDelta int32 // offset delta of the first record with it
	Count             int32
	UncompressedBytes int64 // size of the records without compression
}

// RecordError names one record that was refused.
type RecordError struct {
	Index   int32 // position in the batch
	Message string
}

// RecordErrors is the refusal of a batch because of some of its records. It unwraps to a
// *kafka.Error, so kafka.CodeOf and kafka.MessageOf see through it.
type RecordErrors struct {
	Err     *kafka.Error
	Records []RecordError // the first ones, in order
}

func (e *RecordErrors) Error() string { return e.Err.Error() }

// Unwrap returns the batch's error.
func (e *RecordErrors) Unwrap() error { return e.Err }

// Single takes the one batch that a Produce request carries for a partition. Every other
// content is refused with the code that goes to the client.
func Single(data []byte) (Batch, error) {
	if len(data) == 0 {
		return nil, kafka.Errorf(kafka.ErrInvalidRecord, "the partition's data holds no record batch; exactly one is needed")
	}
	b, rest, err := Next(data)
	if ce, ok := errors.AsType[*CorruptError](err); ok && ce.Field == "magic" && ce.Got < Magic {
		return nil, kafka.Errorf(kafka.ErrInvalidRecord, "record format version %d is not supported; only version %d is", ce.Got, Magic)
	}
	if errors.Is(err, ErrIncomplete) {
		// As in Kafka not CORRUPT_MESSAGE, upon which the client would send the same again.
		return nil, kafka.Errorf(kafka.ErrInvalidRecord, "the partition's data of %d bytes is not a whole record batch", len(data))
	}
	if err != nil {
		return nil, corruptf("the partition's data of %d bytes is not a record batch: %v", len(data), err)
	}
	if len(rest) > 0 {
		return nil, kafka.Errorf(kafka.ErrInvalidRecord, "%d bytes follow the record batch; exactly one batch per partition is allowed", len(rest))
	}
	return b, nil
}

// Validate applies the rules for a batch from a client and walks every record's header.
// Errors are *kafka.Error or *RecordErrors. It neither changes nor keeps b. Uncompressed
// batches are walked without an allocation; compressed ones are decompressed as a stream,
// at most UncompressedLimit bytes of it.
func Validate(b Batch, o ValidateOptions) (ValidateResult, error) {
	if err := validateHeader(b, o); err != nil {
		return ValidateResult{}, err
	}
	c := cursorPool.Get().(*cursor)
	defer c.release()
	if err := c.open(b, UncompressedLimit(len(b))); err != nil {
		return ValidateResult{}, invalid(b, err)
	}
	return walkValidate(c, b, o)
}

func validateHeader(b Batch, o ValidateOptions) error {
	if b.BaseOffset() != 0 {
		return invalidf("the base offset of a produced batch is %d; it must be 0", b.BaseOffset())
	}
	if len(b) > o.MaxBatchBytes {
		return kafka.Errorf(kafka.ErrMessageTooLarge, "the record batch has %d bytes, more than the topic's max.message.bytes of %d", len(b), o.MaxBatchBytes)
	}
	if err := b.CheckCRC(); err != nil {
		return corruptf("%v", err)
	}
	codec := b.Codec()
	if !codec.IsKnown() {
		return kafka.Errorf(kafka.ErrUnsupportedCompressionType, "compression codec %d does not exist", int8(codec))
	}
	if codec == CodecZstd && o.ProduceVersion < ProduceVersionZstd {
		return kafka.Errorf(kafka.ErrUnsupportedCompressionType, "zstd needs Produce version %d or newer, the request has version %d", ProduceVersionZstd, o.ProduceVersion)
	}
	count, delta := b.Count(), b.LastOffsetDelta()
	if count <= 0 {
		return invalidf("the batch says it has %d records", count)
	}
	if int64(delta)+1 != int64(count) {
		return invalidf("the last offset delta %d does not fit the count of %d records", delta, count)
	}
	if b.IsControl() {
		return invalidf("clients may not write control records")
	}
	if b.HasDeleteHorizon() {
		return invalidf("clients may not set a delete horizon")
	}
	if b.HasProducerID() && b.BaseSequence() < 0 {
		return invalidf("the batch of producer id %d has sequence number %d", b.ProducerID(), b.BaseSequence())
	}
	if b.HasProducerID() && b.ProducerEpoch() < 0 {
		return invalidf("the batch of producer id %d has epoch %d", b.ProducerID(), b.ProducerEpoch())
	}
	return nil
}

// walkValidate checks every record. It stays one loop: it runs for each record produced.
func walkValidate(c *cursor, b Batch, o ValidateOptions) (ValidateResult, error) {
	r := ValidateResult{MaxTimestamp: kafka.NoTimestamp}
	count, baseTimestamp := b.Count(), b.BaseTimestamp()
	var refused *RecordErrors
	for i := int32(0); i < count; i++ {
		h, err := c.skipRecord()
		if err != nil {
			return r, invalid(b, fmt.Errorf("record %d of %d: %w", i, count, err))
		}
		if h.offsetDelta != int64(i) {
			return r, invalidf("record %d of the batch has offset delta %d", i, h.offsetDelta)
		}
		timestamp := baseTimestamp + h.timestampDelta
		if timestamp > r.MaxTimestamp {
			r.MaxTimestamp, r.MaxTimestampDelta = timestamp, i
		}
		if o.CompactedTopic && !h.hasKey {
			refused = refused.add(kafka.ErrInvalidRecord, i, "a compacted topic accepts no record without a key")
		} else if msg := o.timestampFault(b, timestamp); msg != "" {
			refused = refused.add(kafka.ErrInvalidTimestamp, i, msg)
		}
	}
	if err := c.expectEnd(); err != nil {
		return r, invalid(b, err)
	}
	if refused != nil {
		return r, refused
	}
	r.Count, r.UncompressedBytes = count, c.consumed()
	return r, nil
}

// timestampFault says what is wrong with a record's timestamp, "" if nothing is.
func (o *ValidateOptions) timestampFault(b Batch, timestamp int64) string {
	if !o.LogAppendTime && timestamp != kafka.NoTimestamp {
		// Compared by the sign of each difference: a forged timestamp may overflow it.
		early := timestamp < o.NowMs && uint64(o.NowMs-timestamp) > uint64(o.TimestampBeforeMaxMs)
		late := timestamp > o.NowMs && uint64(timestamp-o.NowMs) > uint64(o.TimestampAfterMaxMs)
		if early || late {
			return fmt.Sprintf("timestamp %d is not within %d ms before and %d ms after the broker's time %d",
				timestamp, o.TimestampBeforeMaxMs, o.TimestampAfterMaxMs, o.NowMs)
		}
	}
	if b.IsLogAppendTime() {
		return "a producer may not set the timestamp type to LogAppendTime"
	}
	return ""
}

func (e *RecordErrors) add(code kafka.ErrorCode, index int32, message string) *RecordErrors {
	if e == nil {
		e = &RecordErrors{Err: kafka.Errorf(code, "one or more records were refused: record %d: %s", index, message)}
	}
	if code == kafka.ErrInvalidTimestamp && e.Err.Code != code {
		// As in Kafka, one record with a wrong timestamp decides the code of the batch.
		e.Err = kafka.Errorf(code, "one or more records were refused: record %d: %s", index, message)
	}
	if len(e.Records) < maxRecordErrors {
		e.Records = append(e.Records, RecordError{Index: index, Message: message})
	}
	return e
}

func invalidf(format string, args ...any) error {
	return kafka.Errorf(kafka.ErrInvalidRecord, format, args...)
}

func corruptf(format string, args ...any) error {
	return kafka.Errorf(kafka.ErrCorruptMessage, format, args...)
}

// invalid turns a fault in the records of a batch with a right CRC into a client's error.
// The bytes arrived as the client made them, so sending them again would not help: it is
// INVALID_RECORD and not the retriable CORRUPT_MESSAGE. Too much uncompressed data is
// MESSAGE_TOO_LARGE, upon which clients split the batch and try again.
func invalid(b Batch, err error) error {
	code := kafka.ErrInvalidRecord
	if errors.Is(err, ErrTooLarge) {
		code = kafka.ErrMessageTooLarge
	}
	return kafka.Errorf(code, "the records of the batch (%s, %d bytes) cannot be read: %v", b.Codec(), len(b), err)
}
