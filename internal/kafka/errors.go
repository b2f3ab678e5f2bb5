package kafka

import (
	"errors"
	"fmt"
)

// ErrorCode is an error code of the Kafka protocol.
type ErrorCode int16

// Error returns Kafka's name of the code, such as "OFFSET_OUT_OF_RANGE".
func (c ErrorCode) Error() string {
	if name, ok := errorNames[c]; ok {
		return name
	}
	return fmt.Sprintf("ERROR_CODE_%d", int16(c))
}

// Error is a code with the sentence a client or operator reads, and optionally its cause.
type Error struct {
	Code    ErrorCode
	Message string
	Cause   error
}

// Errorf returns an *Error with a formatted message.
func Errorf(code ErrorCode, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error returns the code, the sentence and the cause.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Code.Error() + ": " + e.Message + ": " + e.Cause.Error()
	}
	return e.Code.Error() + ": " + e.Message
}

// Unwrap lets errors.Is find both the code and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.Cause}
}

// CodeOf maps any error to the code that goes on the wire: ErrNone for nil, the code that
// err carries, else ErrUnknownServerError. It is the one place where this mapping is made.
func CodeOf(err error) ErrorCode {
	if err == nil {
		return ErrNone
	}
	if code, ok := errors.AsType[ErrorCode](err); ok {
		return code
	}
	return ErrUnknownServerError
}

// MessageOf returns the sentence for a client, or nil where err carries only a code.
func MessageOf(err error) *string {
	if e, ok := errors.AsType[*Error](err); ok {
		return &e.Message
	}
	return nil
}
