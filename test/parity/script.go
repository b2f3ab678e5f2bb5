package main

import (
	"fmt"
	"slices"
	"sync"

	"github.com/moldau/moldau/test/parity/script"
)

// compareScript sends the script of requests to both brokers and compares the answers, then what they have written about
// groups and transactions, and the files of topics written alike. It returns how many comparisons there were and what is wrong.
func compareScript(kafka, moldau string) (int, []string) {
	cases := script.Cases()
	var theirs, ours []string
	var theirErr, ourErr error
	var both sync.WaitGroup
	both.Go(func() { theirs, theirErr = script.Ask(kafka, cases) })
	both.Go(func() { ours, ourErr = script.Ask(moldau, cases) })
	both.Wait()
	for _, err := range []error{theirErr, ourErr} {
		if err != nil {
			return len(cases), []string{err.Error()}
		}
	}
	recorded, err := script.Golden()
	if err != nil {
		return len(cases), []string{err.Error()}
	}
	for _, w := range script.Steady(cases, theirs, ours, recorded) {
		fmt.Println("Apache Kafka has answered otherwise than when it was recorded:", w)
	}
	problems := script.Judge(cases, theirs, ours)
	keys, more, err := script.CompareRecords(kafka, moldau, cases, theirs, ours)
	if err != nil {
		more = append(more, err.Error())
	}
	files, others, err := script.CompareDisk(kafka, moldau)
	if err != nil {
		others = append(others, err.Error())
	}
	return len(cases) + keys + files, slices.Concat(problems, more, others)
}

// recordScript writes what Apache Kafka answers to the script, for the tests that hold Moldau to it without Java.
func recordScript(kafka, folder string) error {
	cases := script.Cases()
	answers, err := script.Ask(kafka, cases)
	if err != nil {
		return err
	}
	return script.WriteGolden(folder, cases, answers)
}
