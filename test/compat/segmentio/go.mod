// The client's own module: what it needs never enters Moldau's.
module github.com/moldau/moldau/test/compat/segmentio

go 1.26

require (
	github.com/segmentio/kafka-go v0.4.51
	github.com/moldau/moldau/test/compat/expect v0.0.0
)

require (
	github.com/klauspost/compress v1.15.9 // indirect
	github.com/pierrec/lz4/v4 v4.1.15 // indirect
)

replace github.com/moldau/moldau/test/compat/expect => ../expect
