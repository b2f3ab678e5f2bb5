package cli

import (
	"math"
	"strconv"

	"github.com/moldau/moldau/internal/kafka"
)

// JavaFloat prints a number of 32 or 64 bits as Java does: 1.0, 1.5E10.
func JavaFloat(number float64, bits int) string { return kafka.JavaFloat(number, bits) }

// Decimal prints a number with a fixed count of digits after the point as Java's printf does, which
// writes Infinity where Go writes +Inf.
func Decimal(number float64, digits int) string {
	if math.IsInf(number, 0) {
		return JavaFloat(number, 64)
	}
	return strconv.FormatFloat(number, 'f', digits, 64)
}
