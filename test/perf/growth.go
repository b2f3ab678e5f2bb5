package main

import (
	"math"
	"slices"
)

// growth is the trend of a series.
type growth struct {
	total float64 // by the median of the slopes between all pairs (Theil and Sen), from the first to the last
	z     float64 // how sure it is that there is one (Mann and Kendall): beyond 3, chance does it once in 700 series
	level float64 // the median
}

func growthOf(series []float64) growth {
	var slopes []float64
	sign, ties := 0, map[float64]int{}
	for i, a := range series {
		ties[a]++
		for j := i + 1; j < len(series); j++ {
			slopes = append(slopes, (series[j]-a)/float64(j-i))
			switch {
			case series[j] > a:
				sign++
			case series[j] < a:
				sign--
			}
		}
	}
	n := float64(len(series))
	variance := n * (n - 1) * (2*n + 5)
	for _, count := range ties {
		t := float64(count)
		variance -= t * (t - 1) * (2*t + 5)
	}
	g := growth{total: median(slopes) * (n - 1), level: median(slices.Clone(series))}
	if variance > 0 {
		g.z = float64(sign) / math.Sqrt(variance/18)
	}
	return g
}

// grows tells growth that goes on from noise and from what is too little to matter: five in a
// hundred of the level, or allowed if that is more.
func (g growth) grows(allowed float64) bool {
	return g.z > 3 && g.total > max(allowed, g.level*0.05)
}
