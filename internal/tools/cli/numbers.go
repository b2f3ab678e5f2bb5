package cli

import (
	"math"
	"strconv"
	"strings"
)

// JavaFloat prints a number of 32 or 64 bits as Java does: 1.0, 1.5E10.
func JavaFloat(number float64, bits int) string {
	switch {
	case math.IsNaN(number):
		return "NaN"
	case math.IsInf(number, 1):
		return "Infinity"
	case math.IsInf(number, -1):
		return "-Infinity"
	}
	size := math.Abs(number)
	if size != 0 && (size < 1e-3 || size >= 1e7) {
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(number, 'E', -1, bits), "E")
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		power, _ := strconv.Atoi(exponent)
		return mantissa + "E" + strconv.Itoa(power)
	}
	text := strconv.FormatFloat(number, 'f', -1, bits)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// Decimal prints a number with a fixed count of digits after the point as Java's printf does, which
// writes Infinity where Go writes +Inf.
func Decimal(number float64, digits int) string {
	if math.IsInf(number, 0) {
		return JavaFloat(number, 64)
	}
	return strconv.FormatFloat(number, 'f', digits, 64)
}
