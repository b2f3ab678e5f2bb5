package cli

import (
	"fmt"
	"strings"
)

// Table prints rows below their headers, with a tab after each cell.
func (s Streams) Table(headers []string, rows [][]string) {
	widths := make([]int, len(headers))
	rows = append([][]string{headers}, rows...)
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&line, "%-*s\t", widths[i], cell)
		}
		s.Println(line.String())
	}
}
