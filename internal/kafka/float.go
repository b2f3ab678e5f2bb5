package kafka

import (
	"math"
	"strconv"
	"strings"
)

// JavaFloat writes a number of 32 or 64 bits as Java does, which is what Kafka's tools print and its
// clients see: 1.0, 1.5E10.
func JavaFloat(number float64, bits int) string {
	switch {
	case math.IsNaN(number):
		return "NaN"
	case math.IsInf(number, 1):
		return "Infinity"
	case math.IsInf(number, -1):
		return "-Infinity"
	}
	if size := math.Abs(number); size != 0 && (size < 1e-3 || size >= 1e7) {
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(number, 'E', -1, bits), "E")
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		power, _ := strconv.Atoi(exponent) // always a number: FormatFloat wrote it
		return mantissa + "E" + strconv.Itoa(power)
	}
	text := strconv.FormatFloat(number, 'f', -1, bits)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}
