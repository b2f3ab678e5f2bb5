package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/kafka"
)

// Error is a failure that a broker answered.
type Error struct {
	Code    kafka.ErrorCode
	Message string
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the code.
func (e *Error) Unwrap() error { return e.Code }

// FromCode returns nil for no error, else an *Error with the broker's own sentence or, where
// it sent none, the protocol's.
func FromCode(code int16, message *string) error {
	if code == 0 {
		return nil
	}
	e := &Error{Code: kafka.ErrorCode(code)}
	if message != nil && *message != "" {
		e.Message = *message
		return e
	}
	e.Message = description(code)
	return e
}

func description(code int16) string {
	if known := kerr.TypedErrorForCode(code); known != nil && known.Code == code {
		return known.Description
	}
	return fmt.Sprintf("The broker answered error code %d, which this tool does not know.", code)
}

// Convert gives an error of the client library the form that the tools print. call names the
// request as Kafka's admin client does, such as listTopics.
func Convert(err error, call string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if known, ok := errors.AsType[*kerr.Error](err); ok {
		return FromCode(known.Code, nil)
	}
	// The library has no exported error for a request that the broker does not serve.
	if strings.HasPrefix(err.Error(), "broker is too old;") {
		return &Error{Code: kafka.ErrUnsupportedVersion, Message: "The cluster does not serve the request. Call: " + call}
	}
	// A broker that cannot be reached has been reported while the client went on trying.
	if _, isNetwork := errors.AsType[net.Error](err); isNetwork || errors.Is(err, context.DeadlineExceeded) {
		return &Error{Code: kafka.ErrRequestTimedOut, Message: "Timed out waiting for a node assignment. Call: " + call}
	}
	return err
}

// Code returns the protocol code that an error carries, ErrNone for nil.
func Code(err error) kafka.ErrorCode {
	if known, ok := errors.AsType[*kerr.Error](err); ok {
		return kafka.ErrorCode(known.Code)
	}
	return kafka.CodeOf(err)
}

// irregular lists the codes whose Java class is not the code's name in camel case.
var irregular = map[kafka.ErrorCode]string{
	kafka.ErrUnknownServerError:                 "UnknownServerException",
	kafka.ErrCorruptMessage:                     "CorruptRecordException",
	kafka.ErrRequestTimedOut:                    "TimeoutException",
	kafka.ErrMessageTooLarge:                    "RecordTooLargeException",
	kafka.ErrStaleControllerEpoch:               "ControllerMovedException",
	kafka.ErrOffsetMetadataTooLarge:             "OffsetMetadataTooLarge",
	kafka.ErrNetworkException:                   "NetworkException",
	kafka.ErrInvalidTopicException:              "InvalidTopicException",
	kafka.ErrRecordListTooLarge:                 "RecordBatchTooLargeException",
	kafka.ErrTopicAuthorizationFailed:           "TopicAuthorizationException",
	kafka.ErrGroupAuthorizationFailed:           "GroupAuthorizationException",
	kafka.ErrClusterAuthorizationFailed:         "ClusterAuthorizationException",
	kafka.ErrTopicAlreadyExists:                 "TopicExistsException",
	kafka.ErrInvalidConfig:                      "InvalidConfigurationException",
	kafka.ErrOutOfOrderSequenceNumber:           "OutOfOrderSequenceException",
	kafka.ErrDuplicateSequenceNumber:            "DuplicateSequenceException",
	kafka.ErrInvalidProducerIDMapping:           "InvalidPidMappingException",
	kafka.ErrInvalidTransactionTimeout:          "InvalidTxnTimeoutException",
	kafka.ErrTransactionalIDAuthorizationFailed: "TransactionalIdAuthorizationException",
	kafka.ErrKafkaStorageError:                  "KafkaStorageException",
	kafka.ErrSASLAuthenticationFailed:           "SaslAuthenticationException",
	kafka.ErrDelegationTokenAuthDisabled:        "DelegationTokenDisabledException",
	kafka.ErrDelegationTokenRequestNotAllowed:   "UnsupportedByAuthenticationException",
	kafka.ErrDelegationTokenAuthorizationFailed: "DelegationTokenAuthorizationException",
	kafka.ErrNonEmptyGroup:                      "GroupNotEmptyException",
	kafka.ErrPrincipalDeserializationFailure:    "PrincipalDeserializationException",
	kafka.ErrFetchSessionTopicIDError:           "FetchSessionTopicIdException",
	kafka.ErrInvalidRegularExpression:           "InvalidRegularExpression",
}

// Wrapped is Exception as Kafka's tools show it where they do not unpack what a broker has answered.
func Wrapped(answered *Error) string {
	return "java.util.concurrent.ExecutionException: " + Exception(answered)
}

// Exception returns the name of the Java class by which Kafka's tools show a failure, with the
// message after it.
func Exception(err error) string {
	known, ok := errors.AsType[*Error](err)
	if !ok {
		return "java.lang.IllegalArgumentException: " + err.Error()
	}
	name, ok := irregular[known.Code]
	if !ok {
		var b strings.Builder
		for word := range strings.SplitSeq(known.Code.Error(), "_") {
			b.WriteString(word[:min(1, len(word))] + strings.ToLower(word[min(1, len(word)):]))
		}
		name = b.String() + "Exception"
	}
	return "org.apache.kafka.common.errors." + name + ": " + known.Message
}
