// Package folders has the names of the folders in a log dir: those of logs, as Kafka gives them, and those of logs that are not live.
package folders
