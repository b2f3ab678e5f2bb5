package script

import (
	"bufio"
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

//go:embed golden/*.txt
var goldenFiles embed.FS

// maxLine bounds a line of a golden file.
const maxLine = 1 << 20

// Golden returns what Apache Kafka has answered, by Case.ID.
func Golden() (map[string]string, error) {
	answers := map[string]string{}
	entries, err := goldenFiles.ReadDir("golden")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		content, err := goldenFiles.ReadFile("golden/" + e.Name())
		if err != nil {
			return nil, err
		}
		if err := parseGolden(content, answers); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return answers, nil
}

// parseGolden reads one file: the API, then of each case its name and, indented, per range of versions the answer.
func parseGolden(content []byte, answers map[string]string) error {
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, maxLine)
	api, name := "", ""
	for lines.Scan() {
		line := lines.Text()
		switch versioned, indented := strings.CutPrefix(line, " "); {
		case api == "":
			api = line
		case !indented:
			name = line
		default:
			versions, answer, found := strings.Cut(versioned, ": ")
			first, last, isRange := strings.Cut(versions, "..")
			if !isRange {
				last = first
			}
			from, errFrom := strconv.Atoi(first)
			to, errTo := strconv.Atoi(last)
			if !found || errFrom != nil || errTo != nil || to < from {
				return fmt.Errorf("line %q is not versions and an answer", line)
			}
			for v := from; v <= to; v++ {
				answers[fmt.Sprintf("%s v%d %s", api, v, name)] = answer
			}
		}
	}
	return lines.Err()
}

// WriteGolden writes the answers to the cases into folder, one file per API.
func WriteGolden(folder string, cases []Case, answers []string) error {
	type said struct {
		version int16
		answer  string
	}
	var files []string
	byFile := map[string][]string{}
	byName := map[string][]said{}
	for i := range cases {
		file, id := cases[i].API.Name, cases[i].API.Name+"\n"+cases[i].Name
		if byFile[file] == nil {
			files = append(files, file)
		}
		if byName[id] == nil {
			byFile[file] = append(byFile[file], cases[i].Name)
		}
		byName[id] = append(byName[id], said{cases[i].Version, answers[i]})
	}
	for _, file := range files {
		var out strings.Builder
		fmt.Fprintln(&out, file)
		for _, name := range byFile[file] {
			fmt.Fprintln(&out, name)
			list := byName[file+"\n"+name]
			for from := 0; from < len(list); {
				to := from
				for to+1 < len(list) && list[to+1].answer == list[from].answer && list[to+1].version == list[to].version+1 {
					to++
				}
				versions := strconv.Itoa(int(list[from].version))
				if to > from {
					versions += ".." + strconv.Itoa(int(list[to].version))
				}
				fmt.Fprintf(&out, " %s: %s\n", versions, list[from].answer)
				from = to + 1
			}
		}
		path := filepath.Join(folder, strings.ReplaceAll(file, " ", "_")+".txt")
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
