// Command matrix turns what the suites of test/compat noted into the table of clients in the manual:
//
//	matrix RESULTS MANUAL
//
// RESULTS is a folder with a file SUITE.tsv for each suite that ran, of lines "client, version, feature,
// result" separated by tabs; a result is pass, fail or absent (the client has no such feature). The rows
// of these suites are replaced, others stay. A run that says less than the table fails, and changes nothing.
package main
