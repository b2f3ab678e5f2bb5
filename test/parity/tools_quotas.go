package main

import "regexp"

// quotaCommands set limits with the configs tool, show them and take them away again: nothing
// of them must be left that would hold back what comes after.
func quotaCommands() []command {
	return []command{
		{name: "quotas of clients", smoke: true, kept: regexp.MustCompile(`@|error`), lines: on("configs",
			"--describe --client c@", "--alter --client c@ --add-config producer_byte_rate=1048576,consumer_byte_rate=2097152,request_percentage=12.5,controller_mutation_rate=1e7",
			"--describe --client c@", "--describe --entity-type clients", "--describe --entity-type clients --entity-name c@",
			"--alter --client c@ --delete-config producer_byte_rate", "--describe --client c@", "--alter --client c@ --delete-config producer_byte_rate",
			"--alter --client c@ --add-config producer_byte_rate=7 --delete-config consumer_byte_rate,request_percentage,controller_mutation_rate", "--describe --client c@",
			"--alter --client c@ --delete-config producer_byte_rate", "--describe --client c@", "--describe --entity-type clients")},
		{name: "quotas of users", unordered: true, kept: regexp.MustCompile(`@|error|default`), lines: on("configs",
			"--alter --entity-type users --entity-name u@ --add-config consumer_byte_rate=1.5E9", "--alter --entity-type users --entity-name u@ --entity-type clients --entity-name c@ --add-config request_percentage=200",
			"--alter --user u@ --client-defaults --add-config producer_byte_rate=999999999", "--describe --user u@", "--describe --user u@ --client c@", "--describe --entity-type users --entity-name u@ --entity-type clients",
			"--describe --user u@ --client-defaults", "--describe --entity-type users --entity-type clients", "--describe --entity-type clients --entity-type users --entity-name c@",
			"--alter --client c@ --user u@ --delete-config request_percentage", "--alter --user u@ --client-defaults --delete-config producer_byte_rate", "--alter --user u@ --delete-config consumer_byte_rate",
			"--describe --entity-type users")},
		{name: "quotas by default", lines: on("configs",
			"--alter --client-defaults --add-config producer_byte_rate=9000000000", "--alter --entity-type users --entity-default --add-config consumer_byte_rate=9000000000",
			"--alter --user-defaults --client-defaults --add-config controller_mutation_rate=9000000", "--describe --client-defaults", "--describe --user-defaults", "--describe --entity-type users --entity-default",
			"--describe --user-defaults --client-defaults", "--alter --ip-defaults --add-config connection_creation_rate=2000000000", "--describe --ip-defaults", "--describe --entity-type ips --entity-default",
			"--alter --client-defaults --delete-config producer_byte_rate", "--alter --user-defaults --delete-config consumer_byte_rate",
			"--alter --user-defaults --client-defaults --delete-config controller_mutation_rate", "--alter --ip-defaults --delete-config connection_creation_rate", "--describe --client-defaults")},
		{name: "quotas of addresses", lines: on("configs",
			"--alter --ip 10.11.12.13 --add-config connection_creation_rate=7", "--describe --ip 10.11.12.13", "--describe --entity-type ips --entity-name 10.11.12.13", "--alter --ip localhost --add-config connection_creation_rate=1000000",
			"--describe --ip localhost", "--alter --ip localhost --delete-config connection_creation_rate", "--alter --ip 10.11.12.13 --add-config producer_byte_rate=7", "--alter --ip 10.11.12.13 --delete-config connection_creation_rate",
			"--alter --ip 10.11.12.13 --delete-config connection_creation_rate", "--describe --ip no.such.host.invalid", "--alter --ip no.such.host.invalid --add-config connection_creation_rate=1")},
		{name: "quotas refused", lines: on("configs",
			"--alter --client c@ --add-config producer_byte_rate=0", "--alter --client c@ --add-config producer_byte_rate=1.5", "--alter --client c@ --add-config producer_byte_rate=much", "--alter --client c@ --add-config producer_byte_rate=-1",
			"--alter --client c@ --add-config producer_byte_rate=", "--alter --client c@ --add-config no.such=1", "--alter --client c@ --delete-config no.such", "--alter --user u@ --add-config no.such=1", "--alter --user u@ --delete-config no.such",
			"--alter --user u@ --client c@ --add-config no.such=1", "--alter --client c@ --add-config connection_creation_rate=1", "--alter --client c@ --add-config SCRAM-SHA-256=[password=x]", "--alter --entity-type clients --add-config producer_byte_rate=1",
			"--alter --client c@ --ip 10.0.0.1 --add-config connection_creation_rate=1", "--alter --entity-type users --entity-type clients --entity-name u@ --add-config producer_byte_rate=1", "--alter --client c@",
			"--alter --client c@ --add-config producer_byte_rate=1e19", "--alter --client c@ --add-config request_percentage=0x", "--describe --client c@")},
	}
}
